"""Batches from other processes are the same, bit for bit, and in the same order."""

import numpy as np
import pytest
import torch

from cellseg_nb.errors import UserError
from cellseg_nb.learning import augmentation, cubes, guided, loader, pairs
from cellseg_nb.methods.wnet3d import WNet3DMethod

CPU = torch.device("cpu")


def data(seed=0):
    rng = np.random.default_rng(seed)
    image, labels = rng.random((24, 28, 28), np.float32), np.zeros((24, 28, 28), np.int32)
    labels[4:12, 4:12, 4:12], labels[12:20, 14:22, 14:22] = 1, 2
    return image + labels, labels


def unlabelled(**options):
    return cubes.cube_batches([data()[0], data(1)[0]], 16, 2, 4, **options)


def led():
    image, labels = data()
    return guided.cube_batches([image], 16, 2, 4, [guided.Guide(labels < 2, labels > 0)])


def labelled():
    pipeline = augmentation.pipeline()
    return pairs.Cubes(*([part] for part in data()), (16, 16, 16), 2, 3, transform=pipeline, cores=True)


KINDS = {
    "cubes": unlabelled,
    "published, remapped": lambda: unlabelled(turns="published", remapped=True),
    "led": led,
    "labelled": labelled,
}


@pytest.fixture(autouse=True)
def one_thread():
    found = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(found)


def epochs(batches):
    """All tensors of three epochs, the second broken off."""
    found = []
    for epoch in range(3):
        for number, batch in enumerate(batches(epoch, np.random.default_rng([5, epoch]))):
            found += [batch] if isinstance(batch, torch.Tensor) else list(batch)
            if epoch == 1 and number == 1:
                break
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_batches_from_two_processes(kind):
    batches = KINDS[kind]()
    expected, found = epochs(batches), epochs(loader.loaded(batches, 2, CPU))
    assert len(found) == len(expected) > 0
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(found, expected))


def test_a_training_with_processes_ends_with_the_same_bits():
    """Dropout too: the processes take no random number from it."""
    weights = []
    for workers in (0, 1):
        method = WNet3DMethod(
            channels=(4, 4, 8, 8), cube=16, steps=3, epochs=2, dropout=0.3, device="cpu", workers=workers
        )
        method.fit([data()[0]], progress=False)
        weights.append(list(method.model.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*weights))


def test_a_number_of_processes_that_is_none():
    for wrong in (-1, 1.5, "two", True):
        with pytest.raises(UserError, match="workers must be"):
            WNet3DMethod(workers=wrong)


def test_none_on_a_cpu_and_none_where_jobs_are_unknown():
    batches = unlabelled()
    assert loader.loaded(batches, None, CPU) is batches
    own = lambda epoch, rng: iter(())  # noqa: E731
    assert loader.loaded(own, 2, CPU) is own
    assert 0 <= loader.usual(torch.device("cuda")) <= loader.MOST


def test_what_other_processes_need_can_be_sent_to_them():
    """On macOS and Windows they are not copies of this one."""
    import pickle

    for make in (unlabelled().make, labelled().make):
        batches = pickle.loads(pickle.dumps(make))
        assert callable(batches)
