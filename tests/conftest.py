"""Settings of all tests."""

from __future__ import annotations

import os

# Tests run side by side: threads that wait for each other take processors from the other tests, and
# small networks run faster without.  Read when numpy and TensorFlow are imported, here and in the
# processes that tests start.
for name in (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
):
    os.environ.setdefault(name, "1")
