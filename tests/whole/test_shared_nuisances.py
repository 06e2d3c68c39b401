"""A learned likelihood and histograms of the same variations share their nuisance parameters."""

from __future__ import annotations

import numpy as np
import pytest

import milinfer as mil
from milinfer.binned.template_variations import varied_templates
from milinfer.datasets import gaussian
from milinfer.exceptions import ParameterError
from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_cost
from milinfer.samples.variations import ProcessVariations, Variation


@pytest.fixture(scope="module")
def unbinned():
    return systematic_cost(
        gaussian.MeanModel(),
        gaussian.generate(200, 0.1, seed=1).as_data(),
        rate=200.0,
        responses={},
        reference=0.0,
        uncertainties=[NormalisationUncertainty("efficiency", {"signal": (0.9, 1.1)})],
    )


@pytest.fixture(scope="module")
def binned():
    samples = gaussian.samples(20_000, [-0.5, 0.0, 0.5], seed=2)
    templates = mil.Templates.from_samples(
        samples, "x0", bins=[-4, -1, 0, 1, 4], degree=2, luminosity=0.3
    )
    variations = [
        Variation.of_weights(s, {"efficiency": side}, (1 + 0.1 * side) * s.weights)
        for s in samples
        for side in (-1, 1)
    ]
    varied = varied_templates(templates, ProcessVariations(samples, variations), split=True)
    return varied.cost([50.0, 110.0, 115.0, 55.0], mc_stat=False)


def test_they_share_the_parameter_and_its_constraint_counts_once(unbinned, binned):
    assert mil.likelihood.shared_parameters(
        unbinned, binned.without_constraints(["efficiency"]), expected=["mu", "efficiency"]
    ) == {"mu": (0, 1), "efficiency": (0, 1)}
    for total in (unbinned + binned, binned + unbinned):
        with pytest.raises(
            ParameterError, match="the constraint of efficiency would be applied twice"
        ):
            mil.minuit(total)
    one = unbinned + binned.without_constraints(["efficiency"])
    other = unbinned.without_constraints(["efficiency"]) + binned
    fits = [mil.minuit(total).migrad().hesse() for total in (one, other)]
    alone = mil.minuit(unbinned).migrad().hesse()
    for name in ("mu", "efficiency"):
        assert fits[0].values[name] == pytest.approx(fits[1].values[name], abs=1e-3)
        assert fits[0].errors[name] == pytest.approx(fits[1].errors[name], rel=1e-3)
        assert fits[0].errors[name] < 0.95 * alone.errors[name]
    # Both measure one efficiency: 200 ± √200 and 330 ± √330 events of 200 and 300, 10 % each.
    n, expected = 200.0 + 330.0, 500.0
    ratio = np.array([n / expected - 1, expected**-0.5])
    assert fits[0].errors["efficiency"] == pytest.approx(
        (1 + (0.1 / ratio[1]) ** 2) ** -0.5, rel=0.1
    )
    assert fits[0].values["efficiency"] == pytest.approx(
        10 * ratio[0] / (1 + (10 * ratio[1]) ** 2), rel=0.1
    )
