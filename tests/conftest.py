"""Settings of all tests."""

from __future__ import annotations

import os

# Tests run side by side: threads of linear algebra that wait for each other take processors from
# the other tests.  Read when numpy is imported, here and in the processes that tests start.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")
