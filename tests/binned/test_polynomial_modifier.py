"""The modifier of pyhf: expectations by hand, shared parameters, batches and other modifiers."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.binned.polynomial_modifier import polynomial_modifiers
from milinfer.exceptions import WorkspaceError


def modifier(monomials, scaling, name="eft"):
    data = {"monomials": list(monomials), "scaling": np.asarray(scaling).tolist()}
    return {"name": name, "type": "polynomial", "data": data}


def sample(name, data, *modifiers):
    return {"name": name, "data": list(data), "modifiers": list(modifiers)}


def channels():
    """Two channels, three samples with different monomials, and modifiers of HistFactory."""
    norm = {"name": "trigger", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}}
    shape = {
        "name": "jes",
        "type": "histosys",
        "data": {"lo_data": [8.0, 22.0], "hi_data": [12.0, 18.0]},
    }
    free = {"name": "mu", "type": "normfactor", "data": None}
    return [
        # Not in the order of pyhf, which is that of the alphabet.
        {
            "name": "SR",
            "samples": [
                sample(
                    "signal",
                    [10.0, 20.0],
                    modifier(["1", "a", "a*b"], [[1.0, 1.0], [0.5, -0.25], [0.1, 0.2]]),
                    norm,
                    shape,
                ),
                sample("tt", [5.0, 6.0], free),
            ],
        },
        {
            "name": "CR",
            "samples": [
                sample(
                    "signal", [1.0, 2.0, 3.0], modifier(["b^4"], [[1.0, 2.0, 3.0]], "eft_in_cr")
                ),
                sample("vv", [4.0, 4.0, 4.0], modifier(["1", "a"], np.ones((2, 3)), "eft_of_vv")),
            ],
        },
    ]


def model(**options):
    spec = {"channels": channels()}
    return pyhf.Model(
        spec, poi_name="a", validate=False, modifier_set=polynomial_modifiers(), **options
    )


def by_hand(a, b, mu=1.0, trigger=0.0, jes=0.0):
    rise = 1.1**trigger if trigger >= 0 else 0.9**-trigger
    signal = np.array([10.0, 20.0]) + jes * np.array([2.0, -2.0])
    factor = 1.0 + a * np.array([0.5, -0.25]) + a * b * np.array([0.1, 0.2])
    sr = signal * factor * rise + mu * np.array([5.0, 6.0])
    cr = b**4 * np.array([1.0, 4.0, 9.0]) + 4.0 * (1.0 + a)
    return np.concatenate([cr, sr])


values = st.floats(-2.0, 2.0)
shifts = st.sampled_from([-1, 0, 1])
MODEL = model()


@given(
    a=values,
    b=values,
    mu=values,
    trigger=st.sampled_from([-1, 0, 1]),
    jes=st.sampled_from([-1, 0, 1]),
)
@settings(max_examples=30, deadline=None)
def test_expectations_are_polynomials_beside_other_modifiers(a, b, mu, trigger, jes):
    pars = np.empty(MODEL.config.npars)
    named = {"a": a, "b": b, "mu": mu, "trigger": trigger, "jes": jes}
    assert set(named) == set(MODEL.config.par_names)
    for name, value in named.items():
        pars[MODEL.config.par_slice(name)] = value
    expected = by_hand(**named)
    np.testing.assert_allclose(
        MODEL.expected_data(pars, include_auxdata=False), expected, rtol=1e-12, atol=1e-12
    )


def test_parameters_are_free_and_come_first():
    config = MODEL.config
    assert set(config.par_names[:2]) == {"a", "b"}
    for name in "ab":
        assert not config.param_set(name).constrained
        assert config.param_set(name).suggested_init == [0.0]
        assert config.param_set(name).suggested_bounds == [(-10.0, 10.0)]


def test_a_batch_is_many_models():
    rng = np.random.default_rng(1)
    pars = rng.uniform(-1, 1, (4, MODEL.config.npars))
    many = model(batch_size=4).expected_data(pars, include_auxdata=False)
    assert many.shape == (4, 5)
    for row, one in zip(many, pars, strict=True):
        np.testing.assert_allclose(row, MODEL.expected_data(one, include_auxdata=False), rtol=1e-13)
    data = np.tile(np.concatenate([np.full(5, 9.0), MODEL.config.auxdata]), (4, 1))
    pars[:, MODEL.config.par_slice("mu")] = 1.0
    pars[:, MODEL.config.par_slice("a")] *= 0.1
    together = model(batch_size=4).logpdf(pars, data)
    alone = [MODEL.logpdf(p, d)[0] for p, d in zip(pars, data, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_models_without_it_are_as_before():
    spec = pyhf.simplemodels.uncorrelated_background([12.0, 11.0], [50.0, 52.0], [3.0, 7.0]).spec
    other = pyhf.Model(spec, modifier_set=polynomial_modifiers())
    pars = np.array([1.2, 0.9, 1.1])
    np.testing.assert_array_equal(other.expected_data(pars), pyhf.Model(spec).expected_data(pars))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"monomials": ["1"]}, "with the lists monomials and scaling"),
        ({"monomials": ["1"], "scaling": [[1.0]]}, r"shape \(1, 1\), and not \(1, 2\)"),
        ({"monomials": ["1", "a^"], "scaling": [[1.0, 1.0]] * 2}, "not a monomial"),
        ({"monomials": [1], "scaling": [[1.0, 1.0]]}, "not a text"),
        ({"monomials": ["a"], "scaling": [[1.0, float("nan")]]}, "finite"),
        (None, "must be an object"),
    ],
)
def test_damaged_modifiers_are_refused(data, message):
    spec = {
        "channels": [
            {
                "name": "SR",
                "samples": [
                    sample(
                        "signal", [1.0, 2.0], {"name": "eft", "type": "polynomial", "data": data}
                    )
                ],
            }
        ]
    }
    with pytest.raises(WorkspaceError, match=f"channel SR, sample signal: modifier eft.*{message}"):
        pyhf.Model(spec, poi_name=None, validate=False, modifier_set=polynomial_modifiers())
