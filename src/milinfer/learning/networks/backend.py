"""Import Keras with the TensorFlow backend, without its start-up messages.

All other modules import Keras and TensorFlow from here.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from milinfer.exceptions import ModelError

__all__ = ["has_lost_threads", "keras", "require_threads", "tf"]


class _Process:
    """Whether TensorFlow has started its threads here, or before this process was forked."""

    has_threads = False
    has_lost_threads = False


def _forked() -> None:
    _Process.has_lost_threads |= _Process.has_threads
    _Process.has_threads = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def require_threads(*, compiled: bool = False) -> None:
    """Raise if this process was forked after TensorFlow was used, because TensorFlow would hang.

    A forked process does not have the threads of TensorFlow.  Every function that builds, trains or
    evaluates a Keras network calls this function first.  If TensorFlow uses only one thread, a
    forked process can evaluate networks, because the calling thread does the work.  Compiled
    graphs, and therefore trainings, hang even then.

    Parameters
    ----------
    compiled
        Whether the caller compiles graphs.

    Raises
    ------
    ModelError
        If this process was forked after TensorFlow was used.

    Examples
    --------
    >>> require_threads()
    """
    if _Process.has_lost_threads and (compiled or not _has_one_thread()):
        msg = (
            "this process was forked after TensorFlow was used, so networks cannot be used in it; "
            'start it with multiprocessing.get_context("spawn"), or make the cost before the fork'
        )
        raise ModelError(msg)
    _Process.has_threads = True


def has_lost_threads() -> bool:
    """Return whether this process was forked after TensorFlow was used.

    TensorFlow graphs then never finish, because a fork does not copy the threads that run them.

    Examples
    --------
    >>> has_lost_threads()
    False
    """
    return _Process.has_lost_threads


def _has_one_thread() -> bool:
    """Return whether settings or environment limit TensorFlow to one thread."""
    threading = tf.config.threading
    settings = {
        "TF_NUM_INTRAOP_THREADS": threading.get_intra_op_parallelism_threads(),
        "TF_NUM_INTEROP_THREADS": threading.get_inter_op_parallelism_threads(),
    }
    return all(n == 1 or (n == 0 and os.environ.get(k) == "1") for k, n in settings.items())


@contextmanager
def _start_up_messages_hidden() -> Iterator[None]:
    """Hide what the libraries of TensorFlow write to standard error while they are loaded.

    They report instruction sets and missing GPUs before any log level is read.  If loading fails,
    everything is shown.
    """
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # a process without standard error has nothing to hide
        yield
        return
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            messages.seek(0)
            os.write(2, messages.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

with _start_up_messages_hidden():
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for GPUs now, while messages are hidden
