"""Commands that take seconds import nothing that takes longer than their work."""

from __future__ import annotations

import pytest

import milinfer as mil
from milinfer.datasets import quadratic
from milinfer.learning.networks.configs import TrainingConfig
from start_up import heavy_imports

# The compiled loops of milinfer leave the extensions of numba to functions that need them.
NUMBA_KNOWS_AWKWARD = """
import awkward as ak, numba
assert numba.njit(lambda events: len(events))(ak.Array([[1.0], []])) == 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start_up")
    samples = quadratic.samples(500, [{"c1": value} for value in (-1.0, 0.0, 1.0)], seed=1)
    settings = TrainingConfig(epochs=4)
    model = mil.BagLikelihood(head="polynomial", order=1, training=settings, seed=1)
    model.fit(samples).save(folder / "model")
    quadratic.generate(500, {"c1": 0.1}, seed=2).as_data().to_file(folder / "data.parquet")
    return folder


# A few epochs make a network, not a good one.
@pytest.mark.filterwarnings("ignore::milinfer.exceptions.ConvergenceWarning")
def test_a_fit_of_a_saved_model_imports_no_heavy_packages(folder):
    model, data = folder / "model", folder / "data.parquet"
    commands = [
        ("inspect", data),
        ("inspect", model),
        ("fit", "--model", model, data, "--json", folder / "fit.json"),
    ]
    assert heavy_imports(*commands, then=NUMBA_KNOWS_AWKWARD) == [[], [], []]
    assert (folder / "fit.json").is_file()
