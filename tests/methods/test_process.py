"""A process of its own: what comes back, what is raised, how it ends. With classes that need no library."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from cellseg_nb.errors import UserError
from cellseg_nb.methods import process


class Asked(process.Process):
    target = "asked_elsewhere:Worker"
    title, remedy = "The test", "buy more"
    given = "given"

    def made_of(self):
        return (self.given,)


@pytest.fixture
def asked():
    asked = Asked()
    yield asked
    asked.end()


def gone(pid, seconds=120):
    """A process has ended, or does within seconds."""
    end = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_it_works_elsewhere_and_stays(asked):
    pid, given, parent = asked.call("where")
    assert pid != os.getpid() and given == "given" and parent == os.getpid()
    volume = np.arange(3 * 200_000, dtype=np.float32).reshape(3, 200_000)
    for one in (volume, volume[:, ::2], volume.T):
        found = asked.call("double", one)
        assert found.dtype == one.dtype and np.array_equal(found, one * 2) and found.flags.writeable
    assert asked.call("where")[0] == pid
    asked.given = "anew"
    asked.end()
    again, given, _ = asked.call("where")
    assert again != pid and given == "anew" and gone(pid)


def test_it_tells_and_is_answered_and_may_be_asked_meanwhile(asked):
    pid = asked.call("where")[0]
    assert asked.call("tells", 3, heard=lambda number: (number, asked.call("where")[0])) == [
        (number, pid) for number in range(3)
    ]


def test_what_is_raised_there(asked):
    pid = asked.call("where")[0]
    with pytest.raises(UserError, match="^choose another$"):
        asked.call("fails", "user")
    with pytest.raises(UserError, match=r"^The test has too little memory \(Unable to .*\): buy more$"):
        asked.call("fails", "memory")
    with pytest.raises(RuntimeError, match="(?s)Traceback.*in fails.*ZeroDivisionError"):
        asked.call("fails", "otherwise")
    assert asked.call("where")[0] == pid
    bad = Asked()
    bad.given = "bad"
    for _ in range(2):
        with pytest.raises(UserError, match="^made of something bad$"):
            bad.call("where")


def test_killed_there_it_is_one_line_and_starts_anew(asked):
    with pytest.raises(UserError) as raised:
        asked.call("fails", "killed")
    assert "\n" not in str(raised.value) and "(status -9, last line: the last words)" in str(raised.value)
    assert "Most likely memory was short: buy more" in str(raised.value)
    pid = asked.call("where")[0]
    psutil.Process(pid).kill()  # while nothing is asked of it
    asked._running.wait(120)  # of several threads, it is a zombie before it has ended
    assert gone(pid) and asked.call("where")[0] != pid


@pytest.mark.parametrize("how", ["signal", "raised"])
def test_interrupted_here_it_ends(asked, how):
    pid, start = asked.call("where")[0], time.monotonic()

    def heard(_):
        if how == "raised":
            raise KeyboardInterrupt
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()

    with pytest.raises(KeyboardInterrupt):
        asked.call("sleeps", 120, heard=heard)
    assert time.monotonic() - start < 100 and gone(pid)
    assert asked.call("where")[0] != pid


def test_ctrl_c_for_both_is_left_to_who_waits(asked):
    """A terminal, and Jupyter, send it to the other process too."""
    pid = asked.call("where")[0]
    asked.call("sleeps", 0.3, heard=lambda _: os.kill(pid, signal.SIGINT))
    assert asked.call("where")[0] == pid


def test_dropped_it_ends():
    asked = Asked()
    pid = asked.call("where")[0]
    del asked
    assert gone(pid)


@pytest.mark.parametrize("end", ["pass", "os._exit(3)", "os.kill(os.getpid(), 9)"])
def test_it_ends_with_this_process(tmp_path, end):
    """Of a script without ``if __name__ == "__main__"``, in the midst of work, however the script ends."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, sys, threading\nsys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "import test_process\nasked = test_process.Asked()\nprint(asked.call('where')[0], flush=True)\n"
        "work = threading.Event()\n"
        "threading.Thread(target=asked.call, args=('sleeps', 600), kwargs={'heard': lambda _: work.set()}, "
        f"daemon=True).start()\nwork.wait()\n{end}\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600)
    assert run.stderr == "" and gone(int(run.stdout))
