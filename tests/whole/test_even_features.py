"""A network on features that are even under CP finds nothing of a CP-odd operator, and says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.intervals.information import information_matrix
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.toys.pool import EventPool

NAMES = ("c_HW", "c_HWtil")
EDGE, STEP = 0.8, 0.25
ZERO = dict.fromkeys(NAMES, 0.0)
NEAR = [ZERO, *({**ZERO, name: side} for name in NAMES for side in (-STEP, STEP))]
# Of azimuths the network may only see what a reflection leaves.
EVEN = ("q0_pt", "q1_pt", "pt_ll", "pt_qq", "m_ll", "m_qq", "abs_d_phi_qq", "abs_d_phi_ll")
SIGNED = (*EVEN, "sin_d_phi_qq")


def cross(n_events: int, edge: float, seed: int) -> list[mil.Sample]:
    """Events at zero and on both sides of it in each operator, with weights between them."""
    points = [ZERO, *({**ZERO, name: side} for name in NAMES for side in (-edge, edge))]
    weights = vbf_hww.default_weights(NAMES)
    return [
        vbf_hww.generate(n_events, p, seed=seed + k).to_sample("vbf_2l2j", weights)
        for k, p in enumerate(points)
    ]


def with_columns(samples: list[mil.Sample], names: tuple[str, ...]) -> mil.SampleSet:
    made = []
    for sample in samples:
        angle, other = sample.column("d_phi_qq"), sample.column("d_phi_ll")
        own = {
            "abs_d_phi_qq": np.abs(angle),
            "abs_d_phi_ll": np.abs(other),
            "sin_d_phi_qq": np.sin(angle),
        }
        columns = [own[n] if n in own else sample.column(n) for n in names]
        made.append(replace(sample, features=np.stack(columns, axis=1), feature_names=names))
    return mil.SampleSet(tuple(made))


@pytest.fixture(scope="module")
def events() -> tuple[list[mil.Sample], list[mil.Sample]]:
    return cross(2700, EDGE, 100), cross(2700, STEP, 200)


@pytest.mark.parametrize(("names", "found"), [(EVEN, ["c_HWtil"]), (SIGNED, [])])
def test_what_does_not_follow_its_true_value_is_named(
    events: tuple[list[mil.Sample], list[mil.Sample]], names: tuple[str, ...], found: list[str]
) -> None:
    train, pool = (with_columns(samples, names) for samples in events)
    model = mil.BagLikelihood(
        head="polynomial",
        labels="joint",
        network=NetworkConfig((32,), "gelu", batch_norm=False, dropout=0.0, l2=0.0),
        training=TrainingConfig(20, 1024, 5e-3, 1e-4, schedule="cosine"),
        seed=1,
    ).fit(train)
    toys = mil.Toys(EventPool(pool, 4), 1000, seed=3)
    ensembles = toys.scan([model], NEAR, 200)[model.name]
    measured = information_matrix(ensembles, n_bootstrap=50)
    named = [name for name in NAMES if any(f"of {name} do" in s for s in measured.unresponsive)]
    assert named == found
    assert measured.response[0, 0] > 0.5
    information, error = measured.info_eff[1, 1], measured.info_eff_error[1, 1]
    if found:
        assert information < 4 * error
    else:
        assert information > 30
