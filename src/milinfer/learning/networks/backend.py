"""Keras with the TensorFlow backend, loaded without the messages of its start.

The one place where Keras is imported; what needs it takes it from here.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keras", "tf"]


@contextmanager
def _start_up_messages_held() -> Iterator[None]:
    """Keep what TensorFlow's libraries write to standard error while they are loaded.

    They report on instruction sets and on GPUs that are not there before any log level is read.
    If loading fails, everything is shown.
    """
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # a process without standard error has nothing to hold
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

with _start_up_messages_held():
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for GPUs now, while messages are held
