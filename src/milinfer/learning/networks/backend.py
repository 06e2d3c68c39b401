"""Keras with the TensorFlow backend, imported without its start-up messages.

Every other module takes Keras and TensorFlow from here.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keras", "tf"]


@contextmanager
def _start_up_messages_hidden() -> Iterator[None]:
    """Hide what TensorFlow's libraries write to standard error while they are loaded.

    They report on instruction sets and on missing GPUs before any log level is read.  If loading
    fails, everything is shown.
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
