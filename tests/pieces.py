"""Pieces of work for the tests of dask clusters, in a module that workers import quickly."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from traceback import walk_stack

import numpy as np

from milinfer.datasets import gaussian
from milinfer.exceptions import MilinferWarning, SampleError


def plus(item, shared):
    return item + shared


def sums(item, array, offset):
    return item + array[0] + offset


def slow(item, shared):
    time.sleep(0.05)
    return item + shared


def complain(item, shared):
    if item == 7:
        msg = f"event {item} is bad; mend it"
        raise SampleError(msg)
    return item


def time_out(item, shared):
    msg = "no answer"
    raise TimeoutError(msg)


def warn(item, shared):
    warnings.warn(f"item {item} deserves attention", MilinferWarning, stacklevel=1)
    return item


def die(item, *shared):
    os.kill(os.getpid(), signal.SIGKILL)


def trains():
    """The number of this process, and whether one of its threads trains a network."""
    calls = [call for top in sys._current_frames().values() for call, _ in walk_stack(top)]
    return os.getpid(), any(call.f_code.co_name == "train_network" for call in calls)


def ratio(sample):
    """ln of N(2, 1) to N(0, 1)."""
    return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)


class Unsendable:
    """A ratio that cannot be pickled."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, sample):
        return np.zeros(len(sample))
