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
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.exceptions import ModelError
from milinfer.learning.networks import backend

def work():
    sample = gaussian.generate(20_000, 0.0, seed=1, n_features=2)
    model = BagLikelihood.load(sys.argv[1])
    before = model.cost(sample)(0.1)
    samples = gaussian.samples(100, [-1.0, 0.0, 1.0], seed=1, n_features=2)
    pooled = BagLikelihood(pooling="max", network=NetworkConfig((4,)), training=TrainingConfig(1))
    pooled = pooled.fit(samples)
    of_bags = pooled.cost(sample)(0.1)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for call in (lambda: model.cost(sample)(0.1) == before,
                 lambda: BagLikelihood.load(sys.argv[1]).cost(sample)(0.1) == before,
                 lambda: pooled.cost(sample)(0.1) == of_bags,
                 lambda: BagLikelihood(head="binary").fit(samples)):
        try:
            print(call())
        except ModelError as error:
            print("refused:", "spawn" in str(error))
    return 3

# TensorFlow is imported once, and starts its threads in processes of their own.
for threads in ("as many as there are", "1"):
    parent = os.fork()
    if not parent:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.pop(name, None)
            if threads == "1":
                os.environ[name] = threads
        code = work()
        sys.stdout.flush()
        os._exit(code)
    print("code", os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_says_that_it_cannot_use_networks():
    """It waited for ever; only training and poolings of whole bags need TensorFlow.

    One thread is enough to evaluate.
    """
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(MODEL)], capture_output=True, text=True, timeout=120,
        check=False, env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    threads = ["True", "True", "refused: True", "refused: True", "code 3"]
    one_thread = ["True", "True", "True", "refused: True", "code 3"]
    assert result.stdout.splitlines() == [*threads, *one_thread], result.stderr
