"""What a process can do that was forked after TensorFlow had worked, and on which device."""

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
from milinfer.learning.networks.backend import tf

SMALL = {"network": NetworkConfig((4,)), "training": TrainingConfig(1)}

def forked():
    sample = gaussian.generate(20_000, 0.0, seed=1, n_features=2)
    model = BagLikelihood.load(sys.argv[1])
    before = model.cost(sample)(0.1)
    samples = gaussian.samples(100, [-1.0, 0.0, 1.0], seed=1, n_features=2)
    pooled = BagLikelihood(pooling="max", **SMALL).fit(samples)
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

def one_thread():
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = "1"
    return forked()

def devices():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    samples = gaussian.samples(600, [-0.5, 0.0, 0.5], seed=1)
    for device in ("CPU:0", "CPU:1"):
        with tf.device(device):
            model = BagLikelihood(bag_size=5, **SMALL).fit(samples)
        weights = model.fitted.members[0][0].keras.bag_model.weights
        print({w.value.device.rpartition("device:")[2] for w in weights if w.dtype == "float32"},
              model.digest)
    return 4

# TensorFlow is imported once, and starts its threads in processes of their own.
for work in (forked, one_thread, devices):
    parent = os.fork()
    if not parent:
        code = work()
        sys.stdout.flush()
        os._exit(code)
    print("code", os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]), flush=True)
"""


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@pytest.fixture(scope="module")
def lines():
    """What the processes have written: with many threads, with one, and on two devices."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(MODEL)], capture_output=True, text=True, timeout=120,
        check=False, env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    written = result.stdout.splitlines()
    assert len(written) == 5 + 5 + 3, result.stderr
    return written


@pytest.mark.slow
def test_a_forked_process_says_that_it_cannot_use_networks(lines):
    """It waited for ever; only training and poolings of whole bags need TensorFlow.

    One thread is enough to evaluate.
    """
    threads = ["True", "True", "refused: True", "refused: True", "code 3"]
    one_thread = ["True", "True", "True", "refused: True", "code 3"]
    assert lines[:10] == [*threads, *one_thread]


@pytest.mark.slow
def test_training_runs_on_the_device_that_tensorflow_gives(lines):
    """No device is named anywhere: on a second logical device it gives the same weights there."""
    first, second, code = lines[10:]
    assert first.startswith("{'CPU:0'}")
    assert second.startswith("{'CPU:1'}")
    assert first.split()[1] == second.split()[1]
    assert code == "code 4"
