"""What a process can do that was forked after TensorFlow had worked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "data" / "format4" / "multiclass"
CODE = """
import os, sys
from milinfer import BagLikelihood
from milinfer.datasets import gaussian
from milinfer.exceptions import ModelError

sample = gaussian.generate(20_000, 0.0, seed=1, n_features=2)
model = BagLikelihood.load(sys.argv[1])
cost = model.cost(sample)
before = cost(0.1)
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(cost(0.1) == before)
samples = gaussian.samples(100, [-1.0, 0.0], seed=1)
for call in (lambda: model.cost(sample)(0.1) == before,
             lambda: BagLikelihood.load(sys.argv[1]).cost(sample)(0.1) == before,
             lambda: BagLikelihood(head="binary").fit(samples)):
    try:
        print(call())
    except ModelError as error:
        print("refused:", "spawn" in str(error))
sys.stdout.flush()
os._exit(3)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize(
    ("threads", "lines"),
    [
        (None, ["True", *3 * ["refused: True"]]),
        ("1", ["True", "True", "True", "refused: True"]),
    ],
)
def test_a_forked_process_says_that_it_cannot_use_networks(threads, lines):
    """It waited for ever; what was made before works, and one thread is enough to evaluate."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {} if threads is None else dict.fromkeys(names, threads)
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(MODEL)], capture_output=True, text=True, timeout=120,
        check=False, env=environment,
    )  # fmt: skip
    assert result.returncode == 3, result.stderr
    assert result.stdout.splitlines() == lines
