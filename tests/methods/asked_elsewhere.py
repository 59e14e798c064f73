"""What the tests ask of a process of its own: classes that are made there, with few imports."""

import os
import signal
import time

from cellseg_nb.errors import UserError
from cellseg_nb.methods import process, stardist_network


class Worker:
    """Lives on the other side."""

    def __init__(self, given):
        if given == "bad":
            raise UserError("made of something bad")
        self.given = given

    def where(self):
        return os.getpid(), self.given, os.getppid()

    def double(self, volume):
        print("words that libraries print")
        os.write(1, b"and those of compiled code")
        return volume * 2

    def tells(self, count):
        return [process.tell(number) for number in range(count)]

    def fails(self, kind):
        os.write(2, b"I0000 words of a library\nthe last words\n\n")
        if kind == "user":
            raise UserError("choose another")
        if kind == "memory":
            raise MemoryError("Unable to allocate 9 TiB")
        if kind == "killed":
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        return 1 / 0

    def sleeps(self, seconds):
        process.tell("begun")
        time.sleep(seconds)


class Whole(stardist_network.Network):
    """StarDist from the volume to the labels."""

    def instances(self, volume, prob_thresh, nms_thresh):
        return self.model.predict_instances(volume, prob_thresh=prob_thresh, nms_thresh=nms_thresh)[0]
