"""Workspaces with polynomials: their scan is that of the templates, with Monte-Carlo errors."""

from __future__ import annotations

import json

import cabinetry
import hist
import numpy as np
import pyhf
import pytest
from iminuit import Minuit

from milinfer.binned.polynomial_histogram import PolynomialHistogram
from milinfer.binned.polynomial_modifier import polynomial_modifiers
from milinfer.binned.polynomial_workspace import export_polynomials, morphing_to_polynomials
from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.binned.templates import Templates
from milinfer.binned.workspace_export import (
    BackgroundYields,
    Systematic,
    export_workspace,
    import_workspace,
)
from milinfer.binned.workspaces import model_and_data, read_workspace, write_workspace
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import MilinferWarning, ParameterError, TemplateError, WorkspaceError
from milinfer.likelihood.fits import minuit
from milinfer.likelihood.scans import profile_scan
from polynomial_histograms import QUARTIC, observables, random_histogram

CLOSE = 1e-8


@pytest.fixture(autouse=True)
def _quiet_minuit():
    """cabinetry raises Minuit's print level, and leaves its optimiser in pyhf."""
    yield
    Minuit(lambda x: x**2, x=1.0).print_level = 0
    pyhf.set_backend("numpy")


def templates_of(kind: str) -> Templates:
    """Quadratic from one reweighted sample, in two parameters, and quartic from five samples."""
    if kind == "quartic":
        samples = gaussian.samples(3_000, [-0.6, -0.3, 0.0, 0.3, 0.6], seed=1)
        return Templates.from_samples(samples, "x0", bins=5, degree=4, luminosity=0.4)
    points = [{"c1": 0.0}] if kind == "quadratic" else [{"c1": 0.0, "c2": 0.0}]
    sample = quadratic.samples(3_000, points, seed=1)
    return Templates.from_samples(sample, "x0", bins=6, weight_degree=2, luminosity=0.3)


def exported(templates: Templates, counts: np.ndarray, **options):
    """Model and data of a workspace that has been a file."""
    histogram = templates.to_histogram() * (1000 * templates.luminosity)
    workspace = export_polynomials(
        {"signal": histogram}, counts, limits=templates.limits, point=templates.reference, **options
    )
    return model_and_data(json.loads(json.dumps(workspace)))


def observed(templates: Templates, seed: int = 1) -> np.ndarray:
    truth = dict.fromkeys(templates.basis.parameters, 0.15)
    return np.random.default_rng(seed).poisson(templates.expected(truth)).astype(float)


@pytest.mark.parametrize("mc_stat", [True, False])
@pytest.mark.parametrize("kind", ["quadratic", "two", "quartic"])
def test_the_scan_of_pyhf_is_that_of_the_templates(kind, mc_stat):
    templates = templates_of(kind)
    counts = observed(templates)
    cost = templates.cost(counts, rate=True, mc_stat=mc_stat)
    model, data = exported(templates, counts, mc_stat=mc_stat)
    names = templates.basis.parameters
    assert model.config.poi_name == names[0]
    points = np.random.default_rng(2).uniform(-0.5, 0.5, (4, len(names)))
    differences = []
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-14))
    for theta in points:
        start = model.config.suggested_init()
        fixed = model.config.suggested_fixed()
        for name, value in zip(names, theta, strict=True):
            start[model.config.par_slice(name).start] = value
            fixed[model.config.par_slice(name).start] = True
        if mc_stat:
            _, twice_nll = pyhf.infer.mle.fit(
                data, model, init_pars=start, fixed_params=fixed, return_fitted_val=True
            )
        else:
            twice_nll = -2 * model.logpdf(np.array(start), data)[0]
        differences.append(float(twice_nll) - cost(*theta))
    # Not only the scan: the constants are the same ones too.
    np.testing.assert_allclose(differences, 0.0, atol=CLOSE)


def test_the_expectation_is_the_polynomial_everywhere():
    templates = templates_of("quartic")
    model, _ = exported(templates, observed(templates))
    histogram = templates.to_histogram() * (1000 * templates.luminosity)
    for mu in np.linspace(-0.6, 0.6, 7):
        pars = np.array(model.config.suggested_init())
        pars[model.config.par_slice("mu")] = mu
        np.testing.assert_allclose(
            model.expected_data(pars, include_auxdata=False),
            histogram.at({"mu": mu}).values(),
            rtol=1e-12,
        )


def test_cabinetry_fits_and_scans_it():
    templates = templates_of("quadratic")
    counts = observed(templates)
    cost = templates.cost(counts, rate=True)
    model, data = exported(templates, counts)
    best = minuit(cost)
    best.tol = 1e-6
    best.migrad()
    options = {"tolerance": 1e-6, "strategy": 2}
    result = cabinetry.fit.fit(model, list(data), **options)
    k = result.labels.index("c1")
    assert result.best_twice_nll == pytest.approx(best.fval, abs=CLOSE)
    assert result.bestfit[k] == pytest.approx(best.values["c1"], abs=1e-4 * best.errors["c1"])
    scan = cabinetry.fit.scan(model, list(data), "c1", par_range=(-0.3, 0.5), n_steps=4, **options)
    ours = [cost(c) - best.fval for c in scan.parameter_values]
    np.testing.assert_allclose(scan.delta_nlls, ours, atol=CLOSE)
    # Its tables of yields take the model too.
    prediction = cabinetry.model_utils.prediction(model, fit_results=result)
    np.testing.assert_allclose(
        np.ravel(prediction.model_yields), cost.expected(result.bestfit[k]), rtol=1e-4
    )


def test_our_cost_of_the_file_is_the_same(tmp_path):
    templates = templates_of("two")
    counts = observed(templates)
    histogram = templates.to_histogram() * (1000 * templates.luminosity)
    workspace = export_polynomials({"signal": histogram}, counts, limits=templates.limits)
    write_workspace(workspace, tmp_path / "eft.json")
    cost = PyhfCost.from_workspace(read_workspace(tmp_path / "eft.json"))
    assert list(cost.start)[:2] == ["c1", "c2"]
    assert {n: cost.limits[n] for n in ("c1", "c2")} == templates.limits
    by_hand = templates.cost(counts, rate=True)
    theta = (0.2, -0.1)
    assert cost(*theta, *by_hand.gammas(*theta)) == pytest.approx(by_hand(*theta), abs=CLOSE)
    m = minuit(cost).migrad()
    assert m.valid
    assert m.fval == pytest.approx(minuit(by_hand).migrad().fval, abs=1e-3)


def test_backgrounds_and_several_processes_add_up():
    axis = hist.axis.Regular(3, 0, 1, name="x")
    one = random_histogram(1, QUARTIC, axis, positive=True).without_flow()
    two = random_histogram(2, ("1", "b"), axis, positive=True).without_flow()
    tt = hist.Hist(axis, storage="Weight").fill([0.1, 0.5, 0.9, 0.9], weight=[3.0, 2.0, 1.0, 1.0])
    limits = {"a": (-1.0, 1.0), "b": (-2.0, 2.0)}
    at = {"a": 0.2, "b": -0.3}
    workspace = export_polynomials(
        {"ttH": one, "ttZ": two, "tt": tt}, limits=limits, point=at, channel="2l/ss"
    )
    model, data = model_and_data(workspace)
    total = one.at({"a": 0.2}).values() + two.at({"b": -0.3}).values() + tt.values()
    np.testing.assert_allclose(data[:3], total, rtol=1e-13)
    np.testing.assert_allclose(
        model.expected_data(model.config.suggested_init(), include_auxdata=False), total
    )
    variance = one.at({"a": 0.2}).variances() + two.at({"b": -0.3}).variances() + tt.variances()
    sigmas = model.config.param_set("staterror_2l%2Fss").sigmas
    np.testing.assert_allclose(sigmas, np.sqrt(variance) / total, rtol=1e-12)


def test_two_observables_are_one_list_of_bins():
    histogram = random_histogram(1, QUARTIC, *observables(flow=False), positive=True)
    model, _ = model_and_data(export_polynomials({"s": histogram}, limits={"a": (-1, 1)}))
    pars = np.array(model.config.suggested_init())
    pars[model.config.poi_index] = 0.5
    expected = histogram.at({"a": 0.5}).values().ravel()
    np.testing.assert_allclose(model.expected_data(pars, include_auxdata=False), expected)


def test_what_cannot_be_exported_is_refused():
    axis = hist.axis.Regular(3, 0, 1, name="x")
    histogram = random_histogram(1, QUARTIC, axis, positive=True)
    inside, limits = histogram.without_flow(), {"a": (-1.0, 1.0)}
    with pytest.raises(TemplateError, match="signal has content in flow bins"):
        export_polynomials({"signal": histogram}, limits=limits)
    beyond = hist.Hist(axis, storage="Weight").fill([7.0])
    with pytest.raises(TemplateError, match="tt has content in flow bins"):
        export_polynomials({"signal": inside, "tt": beyond}, limits=limits)
    with pytest.raises(ParameterError, match="limits= has the parameters"):
        export_polynomials({"signal": inside}, limits={})
    with pytest.raises(ParameterError, match="point= has the parameters"):
        export_polynomials({"signal": inside}, limits=limits, point={"b": 0.0})
    with pytest.raises(ParameterError, match="outside its limits"):
        export_polynomials({"signal": inside}, limits=limits, point={"a": 2.0})
    with pytest.raises(TemplateError, match=r"signal: bin 0 has -.* choose a point="):
        export_polynomials({"signal": inside * -1.0}, limits=limits)
    unknown = PolynomialHistogram(inside.coefficients)
    with pytest.raises(TemplateError, match="errors of signal are missing"):
        export_polynomials({"signal": unknown}, limits=limits)
    wide = hist.Hist(hist.axis.Regular(2, 0, 1, name="x"), storage="Weight").fill([0.5])
    with pytest.raises(TemplateError, match="different axes"):
        export_polynomials({"signal": inside, "tt": wide}, limits=limits)
    with pytest.raises(TemplateError, match="the counts must be"):
        export_polynomials({"signal": inside}, [1.0], limits=limits)
    with pytest.raises(TemplateError, match="none of the processes"):
        export_polynomials({"tt": hist.Hist(axis, storage="Weight")}, limits={})
    with pytest.raises(WorkspaceError, match="pyhf cannot build the model"):
        model_and_data(export_polynomials({"signal": inside}, limits=limits), "other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("data"), "must be an object with the lists"),
        (lambda m: m["data"].update(more=1), "must be an object with the lists"),
        (lambda m: m["data"]["scaling"].pop(), r"scaling have shape \(4, 3\), and not \(5, 3\)"),
        (lambda m: m["data"]["monomials"].__setitem__(1, "a^"), "not a monomial"),
        (lambda m: m["data"]["monomials"].__setitem__(1, "1"), "different"),
        (lambda m: m["data"]["scaling"][0].__setitem__(0, None), "scaling"),
    ],
)
def test_damaged_workspaces_name_the_place(change, message, tmp_path):
    axis = hist.axis.Regular(3, 0, 1, name="x", flow=False)
    histogram = random_histogram(1, QUARTIC, axis, positive=True)
    workspace = export_polynomials({"signal": histogram}, limits={"a": (-1.0, 1.0)})
    change(workspace["channels"][0]["samples"][0]["modifiers"][0])
    (tmp_path / "eft.json").write_text(json.dumps(workspace))
    place = r"eft\.json, at /channels/0/samples/0/modifiers/0/data: modifier 'channel_signal'"
    with pytest.raises(WorkspaceError, match=f"{place}.*{message}"):
        read_workspace(tmp_path / "eft.json")


def test_other_parts_are_checked_as_ever(tmp_path):
    axis = hist.axis.Regular(3, 0, 1, name="x", flow=False)
    histogram = random_histogram(1, QUARTIC, axis, positive=True)
    workspace = export_polynomials({"signal": histogram}, limits={"a": (-1.0, 1.0)})
    workspace["channels"][0]["samples"][0]["modifiers"][1]["data"] = "many"
    with pytest.raises(WorkspaceError, match=r"at /channels/0/samples/0/modifiers/1: .*many"):
        write_workspace(workspace, tmp_path / "eft.json")
    workspace = export_polynomials({"signal": histogram}, limits={"a": (-1.0, 1.0)})
    workspace["measurements"][0]["config"]["poi"] = "b"
    with pytest.warns(MilinferWarning, match="no sample has the parameter of interest 'b'"):
        model_and_data(workspace)


def test_a_bin_that_nothing_can_fill_is_named():
    axis = hist.axis.Regular(3, 0, 1, name="x", flow=False)
    histogram = random_histogram(1, QUARTIC, axis, positive=True)
    coefficients = histogram.coefficients.view().copy()
    coefficients[:, 1] = 0.0
    empty = PolynomialHistogram.of_arrays(QUARTIC, [axis], coefficients)
    workspace = export_polynomials(
        {"signal": empty}, [300, 2, 300], limits={"a": (-1.0, 1.0)}, mc_stat=False
    )
    with pytest.raises(TemplateError, match=r"channel.*bin 1"):
        PyhfCost.from_workspace(workspace)


class TestMorphing:
    """The workspace of a morphing with everything in it, as pyhf builds it by itself."""

    @pytest.fixture(scope="class")
    @classmethod
    def morphed(cls):
        nominal, down, up = (
            Templates.from_samples(
                gaussian.samples(20_000, [-0.6, 0.0, 0.6], seed=seed),
                "x0",
                bins=[-4.0, -0.5, 0.5, 4.0],
                degree=2,
                luminosity=0.1,
            )
            for seed in (1, 2, 3)
        )
        return export_workspace(
            nominal,
            [25.0, 40.0, 42.0],
            systematics=[
                Systematic("trigger", -0.03, 0.04),
                Systematic("generator", down, up),  # depends on mu
                Systematic("shape", [-0.1, 0.0, 0.1], [0.1, 0.0, -0.1], samples=("tt",)),
            ],
            background=[BackgroundYields("tt", [5.0, 6.0, 7.0], errors=0.5)],
            luminosity_uncertainty=0.02,
            mc_stat=True,
            poi="strength",
        )

    def test_pyhf_says_what_the_cost_says(self, morphed, tmp_path):
        write_workspace(morphed, tmp_path / "morphed.json")
        workspace = morphing_to_polynomials(tmp_path / "morphed.json")
        assert [m["name"] for m in workspace["measurements"]] == ["milinfer"]
        built = pyhf.Workspace(json.loads(json.dumps(workspace)), validate=False)
        # As the documentation says it for scripts of pyhf.
        model = built.model(validate=False, modifier_set=polynomial_modifiers())
        assert model.config.poi_name == "mu"
        cost = import_workspace(morphed)
        names = list(cost.start)
        assert sorted(names) == sorted(model.config.par_names)
        fixed = dict(zip(model.config.par_names, model.config.suggested_fixed(), strict=True))
        assert [n for n, held in fixed.items() if held] == ["strength"]
        bounds = dict(zip(model.config.par_names, model.config.suggested_bounds(), strict=True))
        assert bounds["mu"] == pytest.approx(cost.limits["mu"])
        rng, data = np.random.default_rng(1), built.data(model)
        for _ in range(20):
            point = {n: value + rng.normal(0, 0.3) for n, value in cost.start.items()}
            point |= {"mu": rng.uniform(-0.6, 0.6), "strength": 1.0}
            point |= {n: rng.normal(1, 0.02) for n in names if n.startswith(("lumi", "stat"))}
            values = np.array([point[n] for n in model.config.par_names])
            theirs = -2 * float(model.logpdf(values, data)[0])
            assert theirs == pytest.approx(cost(**point), abs=CLOSE)

    def test_cabinetry_scans_it(self, morphed):
        model, data = model_and_data(morphing_to_polynomials(morphed))
        options = {"tolerance": 1e-6, "strategy": 2}
        scan = cabinetry.fit.scan(
            model, list(data), "mu", par_range=(-0.2, 0.4), n_steps=3, **options
        )
        cost = import_workspace(morphed)
        best = minuit(cost)
        best.tol = 1e-6
        best.migrad()
        rises = profile_scan(best.hesse(), "mu", scan.parameter_values).rises
        np.testing.assert_allclose(scan.delta_nlls, rises, atol=1e-6)

    def test_a_workspace_without_morphing_is_refused(self):
        templates = templates_of("quadratic")
        histogram = templates.to_histogram() * (1000 * templates.luminosity)
        plain = export_polynomials({"signal": histogram}, limits=templates.limits)
        with pytest.raises(
            WorkspaceError, match="records no morphing, so nothing has to be replaced"
        ):
            morphing_to_polynomials(plain)
