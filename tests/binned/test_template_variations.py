"""Templates with the nuisance parameters of varied samples."""

from __future__ import annotations

import json

import numpy as np
import pyhf
import pytest
from scipy.stats import norm

from milinfer.binned.polynomial_workspace import export_polynomials
from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.binned.template_variations import varied_templates
from milinfer.binned.templates import Templates
from milinfer.binned.workspace_export import Systematic, export_workspace, import_workspace
from milinfer.datasets import quadratic
from milinfer.exceptions import MilinferWarning, ParameterError, TemplateError
from milinfer.likelihood.fits import minuit
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variations import ProcessVariations, Variation

EDGES = np.array([-5.0, -1.2, -0.7, -0.3, 0.1, 0.5, 0.9, 1.5, 5.0])
N_BINS = len(EDGES) - 1
POINTS = [-1.2, -0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9, 1.2]
DEGREE = 6
SIGNAL_EVENTS, BACKGROUND_EVENTS = 1000.0, 500.0
# Of equal probability, so that histograms have the exact contents.
QUANTILES = norm.ppf((np.arange(10_000) + 0.5) / 10_000)


def sample_of(x, point=None, process="signal", cross_section=1.0):
    return Sample(
        np.asarray(x)[:, None],
        ("x",),
        point=point or {},
        process=process,
        cross_section=cross_section,
    )


def exact_shape(mean, width):
    cumulative = norm.cdf(EDGES, mean, width)
    cumulative[[0, -1]] = 0.0, 1.0  # outer bins take what is beyond them
    return np.diff(cumulative)


def exact(mu, shift=0.0, width=0.0, rate=0.0, sizes=(0.3, 0.1)):
    """x ~ N(mu + 0.3 shift, (1 + 0.1 width)²) and a background whose rate is known to 10 %."""
    signal = SIGNAL_EVENTS * exact_shape(mu + sizes[0] * shift, 1 + sizes[1] * width)
    return signal + BACKGROUND_EVENTS * (1 + 0.1 * rate) * exact_shape(1.0, 2.0)


def exact_width(*point):
    """Profile width of mu by the Fisher information of the exact binned likelihood."""
    steps = 1e-4 * np.eye(4)
    centre = np.array(point)
    slopes = np.array([(exact(*centre + h) - exact(*centre - h)) / 2e-4 for h in steps])
    information = slopes / exact(*point) @ slopes.T + np.diag([0.0, 1.0, 1.0, 1.0])
    return np.sqrt(np.linalg.inv(information)[0, 0])


def signal_of(points, sizes=(0.3, 0.1)):
    nominal = SampleSet(tuple(sample_of(mu + QUANTILES, {"mu": mu}) for mu in points))
    return ProcessVariations(
        nominal,
        [
            Variation.of_features(s, {name: side}, x[:, None])
            for s in nominal
            for side in (-1, 1)
            for name, x in (
                ("shift", s.point["mu"] + sizes[0] * side + QUANTILES),
                ("width", s.point["mu"] + (1 + sizes[1] * side) * QUANTILES),
            )
        ],
    )


@pytest.fixture(scope="module")
def signal():
    return signal_of(POINTS)


@pytest.fixture(scope="module")
def background():
    nominal = sample_of(1 + 2 * QUANTILES, process="tt", cross_section=0.5)
    return ProcessVariations(
        nominal,
        [
            Variation.of_weights(nominal, {"rate": s}, (1 + 0.1 * s) * nominal.weights)
            for s in (-1, 1)
        ],
    )


@pytest.fixture(scope="module")
def templates(signal):
    return Templates.from_samples(signal.nominal, "x", bins=EDGES, degree=DEGREE, luminosity=1.0)


@pytest.fixture(scope="module")
def varied(templates, signal, background):
    return varied_templates(templates, signal, background=[background])


def test_the_expected_events_are_the_exact_ones(varied):
    cost = varied.cost(mc_stat=False)
    assert list(cost.start) == ["mu", "shift", "width", "rate"]
    assert set(cost.constrained) == {"shift", "width", "rate"}
    for point in ((0.0, 0, 0, 0), (0.4, 1, 0, 0), (-0.5, 0, -1, 1), (0.45, -1, 0, -1)):
        (expected,) = cost.expected(*point).values()
        np.testing.assert_allclose(expected, exact(*point), rtol=3e-3)


def test_the_profile_width_is_that_of_the_exact_likelihood(varied):
    for mu in (0.0, 0.3):
        m = minuit(varied.cost(exact(mu), mc_stat=False), mu=mu)
        m.migrad().minos("mu")
        error = m.merrors["mu"]
        assert m.values["mu"] == pytest.approx(mu, abs=0.02 * error.upper)
        width = (error.upper - error.lower) / 2
        assert width == pytest.approx(exact_width(mu, 0, 0, 0), rel=0.02)
        m.fixed["shift"] = m.fixed["width"] = m.fixed["rate"] = True
        # The nuisance parameters matter: without them the interval is far too short.
        assert m.migrad().hesse().errors["mu"] < 0.2 * width


def test_the_interpolation_of_histfactory_constrains_a_shift_too_strongly(varied):
    """The page on histograms quotes 0.24 and 0.30 (60 datasets: 0.240 ± 0.006)."""
    rng, errors = np.random.default_rng(1), []
    for _ in range(16):
        measured = dict(zip(("shift", "width", "rate"), rng.normal(size=3), strict=True))
        data = rng.poisson(exact(0.0)).astype(float)
        m = minuit(varied.cost(data, mc_stat=False).measuring(**measured), mu=0.0, **measured)
        errors.append(m.migrad().hesse().errors["mu"])
    error_of_mean = np.std(errors) / np.sqrt(len(errors))
    assert np.mean(errors) == pytest.approx(0.24, abs=3 * error_of_mean)
    assert exact_width(0, 0, 0, 0) == pytest.approx(0.303, abs=1e-3)
    assert np.mean(errors) + 2 * error_of_mean < 0.303


def test_a_shift_from_one_point_is_the_same_factor_at_every_theta(templates, signal, varied):
    alone = ProcessVariations(
        signal.nominal, [v for v in signal.variations if v.sample.point["mu"] == 0.0]
    )
    constant = varied_templates(templates, alone)
    assert {s.under_theta for s in constant.shifts} == {"that at mu=0"}
    assert {s.under_theta for s in varied.shifts if s.process == "signal"} == {
        "degree 6 from 9 points"
    }
    cost = constant.cost(mc_stat=False)
    (at_0,) = cost.expected(0.0, 1.0, 0.0).values()
    np.testing.assert_allclose(at_0, SIGNAL_EVENTS * exact_shape(0.3, 1), rtol=3e-3)
    (expected,) = cost.expected(0.5, 1.0, 0.0).values()
    factor = exact_shape(0.3, 1) / exact_shape(0.0, 1)
    np.testing.assert_allclose(expected, SIGNAL_EVENTS * factor * exact_shape(0.5, 1), rtol=5e-3)
    # Which is not what the shift does there.
    assert np.abs(expected / (SIGNAL_EVENTS * exact_shape(0.8, 1)) - 1).max() > 0.05


def test_pulls_are_of_unit_width_away_from_the_nominal_point(background):
    # HistFactory is linear beyond ±1, so that shifts as large as those above would be measured.
    truth, sizes = {"mu": 0.1, "shift": 0.8, "width": -0.5, "rate": 0.5}, (0.1, 0.05)
    signal = signal_of(POINTS[2:-2], sizes)
    templates = Templates.from_samples(signal.nominal, "x", bins=EDGES, degree=4, luminosity=1.0)
    cost = varied_templates(templates, signal, background=[background]).cost(mc_stat=False)
    rng = np.random.default_rng(5)
    pulls = []
    for _ in range(60):
        auxiliary = {name: rng.normal(truth[name]) for name in cost.constrained}
        toy = cost.with_data(rng.poisson(exact(**truth, sizes=sizes))).measuring(**auxiliary)
        m = minuit(toy, start=truth | auxiliary).migrad().hesse()
        assert m.valid
        pulls.append((m.values["mu"] - truth["mu"]) / m.errors["mu"])
    assert abs(np.mean(pulls)) < 0.3
    assert 0.8 < np.std(pulls) < 1.2


def test_the_cost_is_pyhfs_with_staterror_and_luminosity(varied):
    workspace = json.loads(json.dumps(varied.workspace(exact(0.1), luminosity_uncertainty=0.02)))
    cost = import_workspace(workspace)
    kinds = {m["type"] for s in workspace["channels"][0]["samples"] for m in s["modifiers"]}
    assert kinds == {"normfactor", "histosys", "staterror", "lumi"}
    model = pyhf.Workspace(workspace).model(measurement_name="milinfer")
    data = pyhf.Workspace(workspace).data(model)
    rng = np.random.default_rng(2)
    for _ in range(5):
        point = {"mu": rng.uniform(-0.5, 0.5), "lumi": rng.normal(1, 0.02)}
        point |= {n: rng.normal() for n in ("shift", "width", "rate")}
        values = [point.get(name, 1 + 0.01 * k) for k, name in enumerate(cost.start)]
        plain = pyhf.infer.mle.twice_nll(cost.pyhf_parameters(*values), data, model)
        assert cost(*values) == pytest.approx(float(plain[0]), rel=1e-8)


def moved(rng, n, *, partners):
    """The same events moved by 0.1 with a new resolution, or other events of that density."""
    x = rng.normal(size=n)
    y = 0.1 + 0.98 * x + np.sqrt(1 - 0.98**2) * rng.normal(size=n)
    nominal = sample_of(x, process="tt")
    variations = [
        Variation({"scale": side}, sample_of(y, process="tt"), np.arange(n) if partners else None)
        for side in (-1, 1)
    ]
    if not partners:
        nominal = sample_of(rng.normal(size=n), process="tt")
    return ProcessVariations(nominal, variations)


@pytest.mark.parametrize("partners", [True, False])
def test_errors_of_shifts_are_their_spread(templates, partners):
    rng = np.random.default_rng(3)
    shifts = [
        varied_templates(templates, background=[moved(rng, 2000, partners=partners)]).shifts[0]
        for _ in range(200)
    ]
    spread = np.std([s.shift for s in shifts], axis=0)
    stated = np.sqrt(np.mean([s.error**2 for s in shifts], axis=0))
    np.testing.assert_allclose(stated, spread, rtol=0.2)
    # Near the middle the same events are worth twice as many others, in spite of the resolution.
    low, high = (0.05, 0.065) if partners else (0.08, 0.095)
    assert low < stated[4] < high
    true = exact_shape(0.1, 1) / exact_shape(0, 1) - 1
    pull = (np.mean([s.shift for s in shifts], axis=0) - true) / (spread / np.sqrt(200))
    # The ratio of two random sums has a bias of its own, a fraction of an error.
    assert np.abs(pull[2:7]).max() < 5


@pytest.mark.parametrize("partners", [True, False])
def test_p_values_of_a_shape_that_does_not_change_are_uniform(templates, partners):
    rng = np.random.default_rng(4)
    p_values = []
    for _ in range(200):
        process = moved(rng, 3000, partners=partners)
        centred = [
            Variation(
                v.nuisances, sample_of(v.sample.features[:, 0] - 0.1, process="tt"), v.partners
            )
            for v in process.variations
        ]
        same = ProcessVariations(process.nominal, centred)
        p_values.append(varied_templates(templates, background=[same]).shifts[1].p_value)
    for level in (0.1, 0.5):
        error = np.sqrt(level * (1 - level) / 200)
        assert np.mean(np.array(p_values) < level) == pytest.approx(level, abs=4 * error)


def test_rate_and_shape_are_split_without_changing_the_variation(templates, signal, background):
    nominal = background.nominal[0]
    tilt = 1 + 0.2 * np.tanh(nominal.features[:, 0].astype(float)) + 0.1
    tilted = ProcessVariations(
        nominal,
        [
            Variation.of_weights(nominal, {"theory": 1}, tilt),
            Variation.of_weights(nominal, {"theory": -1}, 1 / tilt),
            *background.variations,
        ],
    )
    whole, parts = (
        varied_templates(templates, signal, background=[tilted], split=split)
        for split in (False, True)
    )
    assert [s.kind for s in parts.systematics] == ["normsys", "histosys"] * 4
    a, b = (v.cost(mc_stat=False) for v in (whole, parts))
    for name in ("shift", "theory", "rate", "width"):
        for side in (-1.0, 1.0):
            point = a.start | {name: side}
            (one,), (other,) = (c.expected(*(point[n] for n in c.start)).values() for c in (a, b))
            np.testing.assert_allclose(one, other, rtol=1e-10)
    # Shapes are consistent with zero only where there are none: weights have no other noise.
    pruned = varied_templates(templates, signal, background=[tilted], prune=0.05)
    assert pruned.pruned == (("rate", "tt"),)
    assert "no shape of rate of tt" in repr(pruned)
    rate = [s for s in pruned.systematics if s.name == "rate"]
    assert [s.kind for s in rate] == ["normsys"]
    assert rate[0].high == pytest.approx(0.1)
    assert whole.pruned == ()
    table = pruned.to_table()
    assert table.num_rows == 8 * N_BINS
    assert set(table["pruned"].to_pylist()) == {True, False}


def test_events_with_weights_give_the_shift_at_every_theta():
    sample = quadratic.samples(6000, [{"c1": 0.0}], seed=1)[0]
    other = quadratic.samples(6000, [{"c1": 0.0}], seed=2)[0]
    edges = [-3.0, -1.0, 0.0, 1.0, 3.0]
    options = {"bins": edges, "weight_degree": 2, "luminosity": 1.0}
    templates = Templates.from_samples(SampleSet((sample,)), "x0", **options)

    def variations(s):
        moved = np.zeros_like(s.features)
        moved[:, 0] = 0.2
        return ProcessVariations(
            s,
            [
                Variation.of_features(s, {"scale": side}, s.features + side * moved)
                for side in (1, -1)
            ],
        )

    process = variations(sample)
    varied = varied_templates(templates, process)
    assert {s.under_theta for s in varied.shifts} == {"from the weights of the events"}
    (systematic,) = varied.systematics
    for side, variation in zip((systematic.high, systematic.low), process.variations, strict=True):
        direct = Templates.from_samples(SampleSet((variation.sample,)), "x0", **options)
        for c1 in (-0.8, 0.1, 0.9):
            np.testing.assert_allclose(
                side.expected({"c1": c1}), direct.expected({"c1": c1}), rtol=1e-10
            )
    # Other events of the same process give the same shifts within errors.
    elsewhere = varied_templates(templates, variations(other))
    for one, two in zip(varied.shifts, elsewhere.shifts, strict=True):
        pulls = (one.shift - two.shift) / np.hypot(one.error, two.error)
        assert np.abs(pulls).max() < 3.5
        assert pulls.any()
    cost = varied.cost(luminosity_uncertainty=0.01)
    m = minuit(cost).migrad()
    assert m.valid
    assert abs(m.values["scale"]) < 0.05


def test_weighted_histograms_as_a_modifier_take_the_same_systematics():
    """One workspace with polynomial, normsys, histosys and staterror."""
    samples = quadratic.samples(6000, [{"c1": 0.0}], seed=1)
    templates = Templates.from_samples(
        samples, "x0", bins=[-3, -1, 0, 1, 3], weight_degree=2, luminosity=0.2
    )
    tilt = np.array([0.1, 0.05, -0.05, -0.1])
    systematics = [
        Systematic("scale", -tilt, 0.8 * tilt, ("signal",)),
        Systematic("scale", -0.02, 0.03, ("signal",)),
        Systematic("theory", -0.1, 0.1),
    ]
    counts = np.round(1.1 * templates.expected({"c1": 0.3}))
    histogram = templates.to_histogram() * (1000 * templates.luminosity)
    workspace = export_polynomials(
        {"signal": histogram},
        counts,
        limits=templates.limits,
        channel="SR",
        systematics=systematics,
    )
    polynomial = PyhfCost.from_workspace(workspace)
    morphed = import_workspace(
        export_workspace(templates, counts, systematics=systematics, mc_stat=True, channel="SR")
    )
    assert set(polynomial.start) == set(morphed.start)
    kinds = {m["type"] for m in workspace["channels"][0]["samples"][0]["modifiers"]}
    assert kinds == {"polynomial", "histosys", "normsys", "staterror"}
    rng = np.random.default_rng(1)
    for _ in range(10):
        point = {n: rng.normal(0, 0.5) if n in {"scale", "theory"} else 1.0 for n in morphed.start}
        point |= {"c1": rng.uniform(-0.9, 0.9), "staterror_SR[1]": 1.02}
        assert polynomial(**point) == pytest.approx(morphed(**point), abs=1e-8)
    fits = [minuit(c).migrad() for c in (polynomial, morphed)]
    assert fits[0].fval == pytest.approx(fits[1].fval, abs=1e-3)
    for bad, message in (
        ([Systematic("scale", -0.1, 0.1, ("bkg",))], "is for bkg, but the processes are signal"),
        ([Systematic("scale", -0.1, 0.1)] * 2, "scale is given twice for the process signal"),
        ([Systematic("scale", templates, templates, ("signal",))], "use export_workspace"),
    ):
        with pytest.raises(TemplateError, match=message):
            export_polynomials({"signal": histogram}, limits=templates.limits, systematics=bad)


def test_two_observables():
    """Regression: varied templates of two observables were refused, as they have no one edges."""
    sample = quadratic.samples(20_000, [{"c1": 0.0}], seed=1)[0]
    templates = Templates.from_samples(
        SampleSet((sample,)), ("x0", "x1"), bins=([-3, 0, 3], [-3, 0, 3]), weight_degree=2,
        luminosity=1.0,
    )  # fmt: skip
    varied = varied_templates(
        templates,
        ProcessVariations(
            sample,
            [Variation.of_features(sample, {"s": k}, sample.features + 0.1 * k) for k in (-1, 1)],
        ),
    )
    assert "s" in varied.cost().start


def test_what_histfactory_cannot_have_is_said(templates, background):
    nominal = background.nominal[0]

    def process(*shifts):
        weights = np.where(nominal.features[:, 0] > 0, 1.1, 0.9)
        return ProcessVariations(
            nominal, [Variation.of_weights(nominal, s, weights) for s in shifts]
        )

    with pytest.raises(TemplateError, match=r"a has a variation at \+1 but none at -1"):
        varied_templates(templates, background=[process({"a": 1})])
    mirrored = varied_templates(templates, background=[process({"a": 1})], mirror=True)
    low, high = mirrored.shifts
    assert (low.value, high.value) == (-1, 1)
    np.testing.assert_allclose(low.shift, -high.shift)
    with pytest.raises(TemplateError, match="b has no variation at -1 or"):
        varied_templates(templates, background=[process({"a": 1}, {"a": -1}, {"a": 1, "b": 1})])
    more = process({"a": 1}, {"a": -1}, {"b": 1}, {"b": -1}, {"a": 2}, {"a": 1, "b": 1})
    with pytest.warns(MilinferWarning, match="in the closure test: a=2 of tt; a=1,b=1 of tt"):
        some = varied_templates(templates, background=[more])
    assert len(some.unused) == 2
    assert "unused: a=2 of tt" in repr(some)
    for options, error, message in (
        ({"background": [background, background]}, TemplateError, "cannot be called 'tt'"),
        (
            {"background": [background], "prune": 1.5},
            ParameterError,
            r"prune=1.5 must be a p-value",
        ),
    ):
        with pytest.raises(error, match=message):
            varied_templates(templates, **options)


def test_closure_finds_where_the_interpolation_of_histfactory_fails(templates, signal, background):
    """It is linear beyond ±1, and adds the shifts of several parameters."""
    nominal = background.nominal[0]
    on_the_right = nominal.features[:, 0] > 0.5

    def weights(a=0.0, b=0.0):
        return np.where(on_the_right, (1 + 0.1 * a) * (1 + 0.05 * b), 1.0)

    shifts = [{"b": 1}, {"b": -1}, {"a": 1}, {"a": -1}, {"b": 2}, {"b": 1, "a": 1}]
    process = ProcessVariations(
        nominal, [Variation.of_weights(nominal, s, weights(**s)) for s in shifts]
    )
    far = [
        Variation.of_features(s, {"shift": 2}, s.features + 0.6)
        for s in signal.nominal
        if s.point["mu"] == 0.3
    ]
    with pytest.warns(MilinferWarning, match="compared in the closure test"):
        varied = varied_templates(
            templates,
            ProcessVariations(signal.nominal, [*signal.variations, *far]),
            background=[process],
        )
    of_shift, linear, product = varied.closure
    # A weight that is linear in the parameter is what HistFactory has.
    np.testing.assert_allclose(linear.interpolated, linear.shift, atol=1e-12)
    assert linear.significance == pytest.approx(0.0, abs=1e-9)
    # The product of two is 1.155 on the right, their sum 1.15.
    last = {"interpolated": product.interpolated[-1], "shift": product.shift[-1]}
    assert last == pytest.approx({"interpolated": 0.15, "shift": 0.155})
    exact_ratio = exact_shape(0.9, 1) / exact_shape(0.3, 1)
    np.testing.assert_allclose(1 + of_shift.shift, exact_ratio, rtol=5e-3)
    line = 1 + 2 * (exact_shape(0.6, 1) / exact_shape(0.3, 1) - 1)
    np.testing.assert_allclose(1 + of_shift.interpolated, line, rtol=2e-2)
    difference = SIGNAL_EVENTS * exact_shape(0.3, 1) * (line - exact_ratio)
    total = SIGNAL_EVENTS * exact_shape(0.3, 1) + BACKGROUND_EVENTS * exact_shape(1, 2)
    assert of_shift.significance == pytest.approx(np.sqrt(np.sum(difference**2 / total)), rel=0.05)
    assert of_shift.significance > 1


def test_bad_templates_and_signals_are_refused(templates, signal):
    one_side = ProcessVariations(
        signal.nominal,
        [v for v in signal.variations if v.nuisances.get("shift") == 1]
        + [v for v in signal.variations if v.nuisances.get("shift") == -1][:2],
    )
    with pytest.raises(TemplateError, match="shift at -1 and at \\+1 are at different parameter"):
        varied_templates(templates, one_side)
    with pytest.raises(ParameterError, match="degree 9 in mu has 10 coefficients"):
        varied_templates(templates, signal, shift_degree=9)
    narrow = sample_of(np.linspace(-0.2, 0.2, 1000), {"mu": 0.0})
    empty = ProcessVariations(
        narrow, [Variation.of_features(narrow, {"s": k}, narrow.features) for k in (-1, 1)]
    )
    with pytest.raises(TemplateError, match=r"signal: bin 0 x \[-5, -1.2\) has no positive"):
        varied_templates(templates, empty)
    other = sample_of(QUANTILES, {"nu": 0.0})
    strange = ProcessVariations(
        other, [Variation.of_features(other, {"s": k}, other.features) for k in (-1, 1)]
    )
    with pytest.raises(TemplateError, match=r"has the parameters \('nu',\), the templates"):
        varied_templates(templates, strange)
    with_background = Templates.from_samples(
        signal.nominal, "x", bins=EDGES, degree=DEGREE, luminosity=1.0,
        background=sample_of(QUANTILES, process="tt"),
    )  # fmt: skip
    with pytest.raises(TemplateError, match="the templates contain a background"):
        varied_templates(with_background, signal)
    without = Templates.from_samples(signal.nominal, "x", bins=EDGES, degree=DEGREE)
    with pytest.raises(TemplateError, match="luminosity="):
        varied_templates(without, signal)


def test_edges_chosen_on_the_background_are_named(signal):
    from milinfer.binned.binning import BinEdges
    from milinfer.samples.fingerprints import sketch_each

    nominal = sample_of(1 + 2 * QUANTILES, process="tt")
    process = ProcessVariations(
        nominal, [Variation.of_features(nominal, {"s": k}, nominal.features) for k in (-1, 1)]
    )
    edges = EDGES.view(BinEdges)
    edges.chosen_on = tuple(sketch_each(process.nominal))
    templates = Templates.from_samples(
        signal.nominal, "x", bins=edges, degree=DEGREE, luminosity=1.0
    )
    with pytest.warns(MilinferWarning, match="tt: the edges of x were chosen on the events"):
        varied_templates(templates, background=[process])
