"""Cells do not depend on how the volume is cut: for any chunk, the same as one pass over all of it."""

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from scipy import ndimage as ndi

from cellseg_nb.brains import blocks, joins, nearest
from cellseg_nb.errors import UserError

sides = st.tuples(*[st.integers(1, 19)] * 3)
chunks = st.tuples(*[st.integers(1, 20)] * 3)
SIZES = [(1.0, 1.0, 1.0), (2.5, 1.0, 1.0)]


def made(shape, seed, sigma, share):
    """Random blobs, brightest in their middle, and a mask of ``share`` of the voxels; ties on purpose."""
    rough = ndi.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    spots = np.round(rough / max(np.abs(rough).max(), 1e-9) * 20).astype(np.float32)
    return spots, rough > np.quantile(rough, 1 - share)


def by_blocks(spots, mask, chunk, apart, reach, size, share=None):
    """Names of the cells' centres at each voxel, from blocks that see no more than their halo."""
    found = np.zeros(mask.shape, np.int64)
    for block in blocks.grid(mask.shape, chunk, nearest.halo(reach, apart, size)):
        own = spots[block.outer].copy()
        least = share and (own, share)
        labels, places = nearest.assign(own, mask[block.outer].copy(), block.inner, apart, reach, size, least)
        found[block.core] = np.append(0, nearest.names(places, block.outer, mask.shape))[labels]
    return found


@settings(max_examples=120, deadline=None)
@given(sides, chunks, st.integers(0, 10**6), st.sampled_from(SIZES), st.floats(0, 4), st.floats(1, 6))
@example((16, 16, 16), (8, 8, 8), 3, (1.0, 1.0, 1.0), 0.0, 6.0)
@example((19, 17, 13), (2, 3, 1), 5, (2.5, 1.0, 1.0), 2.0, 6.0)
def test_nearest_centres_do_not_depend_on_the_cut(shape, chunk, seed, size, apart, reach):
    spots, mask = made(shape, seed, 1.5, 0.4)
    whole = by_blocks(spots, mask, shape, apart, reach, size)
    assert np.array_equal(by_blocks(spots, mask, chunk, apart, reach, size), whole)
    assert not whole[~mask].any()


@pytest.mark.parametrize("size", SIZES)
def test_nearest_is_nearest(size):
    """Against the definition, written out voxel by voxel."""
    spots, mask = made((14, 15, 16), 1, 1.2, 0.4)
    places = nearest.centres(spots, mask, 2.0, size)
    names = nearest.names(places, (slice(0, 14), slice(0, 15), slice(0, 16)), mask.shape)
    found = by_blocks(spots, mask, (5, 4, 7), 2.0, 4.0, size)
    for voxel in np.argwhere(mask):
        distance = (np.abs(places - voxel) * np.array(size)) ** 2 @ np.ones(3)
        best = int(np.argmin(distance))
        assert found[tuple(voxel)] == (names[best] if distance[best] <= 16 else 0)


def test_centres_are_apart_and_the_stronger_stays():
    spots = np.zeros((9, 9, 20), np.float32)
    spots[4, 4, [3, 6, 15]] = 5, 6, 5
    found = nearest.centres(spots, spots > 0, 4.0, (1, 1, 1))
    assert found.tolist() == [[4, 4, 6], [4, 4, 15]]


def test_one_cell_in_eight_blocks_beside_empty_ones():
    grid = np.ogrid[:17, :17, :17]
    distance = sum((g - 8) ** 2 for g in grid)
    spots = (100 - distance).astype(np.float32)
    mask = distance <= 25
    for chunk in (8, 3, (17, 4, 1)):
        found = by_blocks(spots, mask, chunk, 2.0, 6.0, (1, 1, 1))
        assert np.array_equal(found, mask * (8 * 17 * 17 + 8 * 17 + 8 + 1))  # its centre's place
    assert not by_blocks(spots, np.zeros_like(mask), 8, 2.0, 6.0, (1, 1, 1)).any()


def test_a_cell_ends_at_a_share_of_its_height():
    spots = np.zeros((5, 5, 9), np.float32)
    spots[2, 2] = [0, 2, 4, 8, 10, 8, 4, 2, 0]
    found = by_blocks(spots, spots > 0, (5, 5, 2), 0, 4, (1, 1, 1), 0.5)
    assert (found[2, 2] > 0).tolist() == [False] * 3 + [True] * 3 + [False] * 3
    assert len(np.unique(found)) == 2


# ---------------------------------------------------------------- connected pieces


def joined(mask, chunk):
    """For each voxel the first voxel of its piece, from blocks that see one voxel of their neighbours."""
    every = blocks.grid(mask.shape, chunk, 1)
    done = {block.index: (block, *joins.label_block(mask[block.outer].copy(), block)) for block in every}
    firsts = np.concatenate([firsts_of(one, mask.shape) for one in done.values()])
    counts = [len(one[2]) for one in done.values()]
    start = dict(zip([one[0].number for one in done.values()], np.cumsum([0, *counts])))
    pairs = [np.zeros((0, 2), np.int64)]
    for block, _, _, faces in done.values():
        for axis in range(3):
            beside = tuple(i + (a == axis) for a, i in enumerate(block.index))
            if beside in done:
                other = done[beside]
                pairs.append(joins.shared(faces[axis, 1], other[3][axis, 0], block.number, other[0].number))
    pairs = np.concatenate(pairs)
    where = np.vectorize(lambda name: start[name >> 32] + (name & 0xFFFFFFFF) - 1, otypes=[np.int64])
    smallest = joins.union(where(pairs) if len(pairs) else pairs, firsts)
    found = np.zeros(mask.shape, np.int64)
    for block, core, first, _ in done.values():
        own = smallest[start[block.number] : start[block.number] + len(first)] + 1
        found[block.core] = np.append(0, own)[core]
    return found


def firsts_of(one, shape):
    block, core, first, _ = one
    return joins.place(first, block, shape)


@settings(max_examples=120, deadline=None)
@given(sides, chunks, st.integers(0, 10**6), st.floats(0.05, 0.7))
@example((16, 16, 16), (8, 8, 8), 3, 0.6)
@example((17, 19, 13), (1, 2, 3), 3, 0.3)
@example((1, 1, 12), (1, 1, 1), 0, 0.5)
def test_pieces_do_not_depend_on_the_cut(shape, chunk, seed, share):
    _, mask = made(shape, seed, 0.7, share)
    found = joined(mask, chunk)
    truth, n = ndi.label(mask, np.ones((3, 3, 3)))
    assert not found[~mask].any()
    assert len(np.unique(np.stack([truth[mask], found[mask]]), axis=1).T) == n == len(np.unique(found[mask]))


def test_a_piece_across_eight_blocks_by_corners_alone():
    mask = np.zeros((8, 8, 8), bool)
    mask[range(8), range(8), range(8)] = True  # touches from block to block by corners only
    mask[0, 7, 7] = True
    found = joined(mask, 2)
    assert len(np.unique(found)) == 3 and len(np.unique(joined(mask, (4, 4, 4)))) == 3


def test_blocks_cover_the_volume_once():
    seen = np.zeros((7, 9, 5), int)
    for block in blocks.grid(seen.shape, (3, 4, 5), (1, 2, 9)):
        seen[block.core] += 1
        assert seen[block.outer][block.inner].shape == block.shape
    assert (seen == 1).all()
    with pytest.raises(UserError, match="chunk must be"):
        blocks.grid((4, 4, 4), 0)
