"""HistFactory workspaces both ways."""

from __future__ import annotations

import copy
import json

import numpy as np
import pyhf
import pytest
from click.testing import CliRunner
from iminuit import Minuit
from scipy.stats import norm

from milinfer import cli
from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.binned.templates import Templates
from milinfer.binned.workspace_export import (
    BackgroundYields,
    Systematic,
    export_workspace,
    import_workspace,
    workspace_morphings,
)
from milinfer.binned.workspaces import (
    patch_facts,
    read_workspace,
    require_workspace,
    workspace_facts,
    write_workspace,
)
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import MilinferWarning, ParameterError, TemplateError, WorkspaceError
from milinfer.likelihood.fits import fit_results, minuit

EDGES = [-4.0, -1.0, -0.3, 0.3, 1.0, 4.0]
COUNTS = np.array([12.0, 21.0, 30.0, 25.0, 20.0])


def templates_of(seed=1, **kwargs):
    samples = gaussian.samples(40_000, [-0.6, -0.3, 0.0, 0.3, 0.6], seed=seed)
    options = {"bins": EDGES, "degree": 2, "luminosity": 0.1}
    return Templates.from_samples(samples, "x0", **(options | kwargs))


@pytest.fixture(scope="module")
def templates():
    return templates_of()


@pytest.fixture(scope="module")
def full(templates):
    """A workspace with everything in it."""
    tilt = np.linspace(-0.1, 0.1, 5)
    return export_workspace(
        templates,
        COUNTS,
        systematics=[
            Systematic("trigger", -0.03, 0.04),
            Systematic("scale", -tilt, tilt, samples=("signal",)),
            Systematic("scale", -0.1, 0.1, samples=("tt",)),
            Systematic("generator", templates_of(seed=2), templates_of(seed=3)),
        ],
        background=[
            BackgroundYields("tt", [5.0, 6.0, 7.0, 6.0, 5.0], errors=0.5),
            BackgroundYields("fakes", [1.0, 1.0, 1.0, 1.0, 1.0], luminosity=False),
        ],
        luminosity_uncertainty=0.02,
        mc_stat=True,
    )


@pytest.fixture(autouse=True)
def _quiet_minuit():
    """cabinetry raises Minuit's print level, which is one for the whole process."""
    yield
    Minuit(lambda x: x**2, x=1.0).print_level = 0


def test_the_round_trip_is_the_likelihood_of_the_templates(templates, tmp_path):
    by_hand = templates.cost(COUNTS, rate=True, mc_stat=False)
    write_workspace(export_workspace(templates, COUNTS), tmp_path / "ws.json")
    cost = import_workspace(tmp_path / "ws.json")
    assert list(cost.start) == ["mu"]
    assert cost.limits == {"mu": (-0.6, 0.6)}
    for mu in np.random.default_rng(1).uniform(-0.6, 0.6, 20):
        assert cost(mu) == pytest.approx(by_hand(mu), abs=1e-9)
        np.testing.assert_allclose(cost.expected(mu)["x0"], templates.expected({"mu": mu}))


def test_the_round_trip_through_a_file_changes_nothing(full, tmp_path):
    write_workspace(full, tmp_path / "ws.json")
    assert read_workspace(tmp_path / "ws.json") == full
    one, other = import_workspace(full), import_workspace(tmp_path / "ws.json")
    rng = np.random.default_rng(2)
    for _ in range(10):
        values = [v + 0.1 * rng.normal() for v in one.start.values()]
        assert one(*values) == other(*values)


def test_names_with_slashes_survive_the_round_trip(templates, tmp_path):
    """Regression: pyhf splits some names at a slash, and could not build the model."""
    options = {
        "systematics": [
            Systematic("e/mu", -0.03, 0.04),
            Systematic("q/g", np.full(5, -0.1), np.full(5, 0.1)),
        ],
        "background": [BackgroundYields("t/t", np.full(5, 6.0), errors=0.5)],
        "mc_stat": True,
    }
    write_workspace(export_workspace(templates, COUNTS, channel="a/b", **options), tmp_path / "w")
    cost = import_workspace(tmp_path / "w")
    plain = import_workspace(export_workspace(templates, COUNTS, **options))
    assert {"e/mu", "q/g", "staterror_a%2Fb[0]"} < set(cost.start)
    for mu in (-0.4, 0.0, 0.3):
        values = (plain.start | {"mu": mu, "e/mu": 0.2, "q/g": -0.4}).values()
        assert cost(*values) == pytest.approx(plain(*values), abs=1e-9)


def test_two_parameters_survive_the_round_trip():
    points = [{"c1": a, "c2": b} for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)]
    samples = quadratic.samples(3_000, points, seed=1)
    templates = Templates.from_samples(
        samples, samples.feature_names[0], bins=5, degree=2, luminosity=0.1
    )
    counts = templates.expected({"c1": 0.2, "c2": -0.1})
    cost, by_hand = (
        import_workspace(export_workspace(templates, counts)),
        templates.cost(counts, rate=True, mc_stat=False),
    )
    assert list(cost.start) == ["c1", "c2"]
    for theta in np.random.default_rng(3).uniform(-0.8, 0.8, (10, 2)):
        assert cost(*theta) == pytest.approx(by_hand(*theta), abs=1e-9)


def test_systematics_do_what_they_say_at_every_point(full, templates):
    cost = import_workspace(full)
    tt, fakes = np.array([5.0, 6.0, 7.0, 6.0, 5.0]), np.ones(5)
    tilt = np.linspace(-0.1, 0.1, 5)
    for mu in (-0.4, 0.1, 0.5):
        signal = templates.expected({"mu": mu})

        def expected(mu=mu, **moved):
            return cost.expected(*(cost.start | {"mu": mu} | moved).values())["x0"]

        np.testing.assert_allclose(expected(), signal + tt + fakes)
        np.testing.assert_allclose(expected(trigger=1.0), 1.04 * (signal + tt + fakes))
        np.testing.assert_allclose(
            expected(scale=1.0), (1 + tilt) * signal + 1.1 * tt + fakes, rtol=1e-9
        )
        np.testing.assert_allclose(expected(lumi=1.1), 1.1 * (signal + tt) + fakes)
        # Varied templates are morphed by their own polynomials.
        varied = templates_of(seed=3).expected({"mu": mu})
        np.testing.assert_allclose(expected(generator=1.0), varied + tt + fakes, rtol=1e-9)
        gamma = {"staterror_x0[2]": 1.1}
        np.testing.assert_allclose(expected(**gamma)[2], 1.1 * (signal + tt + fakes)[2])


def test_constraints_have_the_widths_given(full, templates):
    model, config = import_workspace(full).model, import_workspace(full).model.config
    assert config.param_set("lumi").sigmas == [0.02]
    variance = 100.0**2 * templates.basis.variance(templates.fit, [0.0])[0] + 0.5**2
    total = templates.expected({"mu": 0.0}) + np.array([6.0, 7.0, 8.0, 7.0, 6.0])
    np.testing.assert_allclose(config.param_set("staterror_x0").sigmas, np.sqrt(variance) / total)
    assert model.config.poi_name is None


def test_a_fit_with_everything_profiles_its_nuisances(full):
    cost = import_workspace(full)
    plain = import_workspace(full, asimov={"mu": 0.2})
    m = minuit(cost).migrad()
    assert m.valid
    m = minuit(plain)
    m.tol = 1e-3
    m.migrad()
    assert m.values["mu"] == pytest.approx(0.2, abs=0.01 * m.errors["mu"])
    m.fixed = [name != "mu" for name in m.parameters]
    profiled = m.errors["mu"]
    m.migrad()
    assert m.errors["mu"] < profiled


def test_channels_of_combined_workspaces_share_the_parameters(templates):
    other = templates_of(seed=4, bins=[-4.0, 0.0, 4.0], name="y")
    one = export_workspace(templates, COUNTS)
    two = export_workspace(other, [50, 60], channel="SR2")
    both = pyhf.Workspace.combine(pyhf.Workspace(one), pyhf.Workspace(two), join="outer")
    assert len(workspace_morphings(both)) == 2
    cost = import_workspace(dict(both))
    assert list(cost.start) == ["mu"]
    exact = {"rate": True, "mc_stat": False}
    separate = [templates.cost(COUNTS, **exact), other.cost([50, 60], **exact)]
    for mu in (-0.3, 0.2):
        assert cost(mu) == pytest.approx(sum(c(mu) for c in separate), abs=1e-9)


def test_the_morphing_survives_renaming(full):
    renamed = pyhf.Workspace(full).rename(
        modifiers={"w_x0_0": "sm", "trigger": "trig"},
        channels={"x0": "SR"},
        samples={"signal_0": "signal_sm"},
    )
    one, other = import_workspace(full), import_workspace(dict(renamed))
    point = {n: v + 0.05 for n, v in one.start.items()}
    moved = {("trig" if n == "trigger" else n): v for n, v in point.items()}
    values = [moved[n] for n in other.start]
    assert other(*values) == pytest.approx(one(*point.values()), abs=1e-9)


def test_cabinetry_and_pyhf_see_the_signal_at_the_point(templates):
    cabinetry = pytest.importorskip("cabinetry")
    workspace = export_workspace(
        templates,
        systematics=[Systematic("trigger", -0.03, 0.04)],
        poi="strength",
        point={"mu": 0.3},
    )
    model, data = cabinetry.model_utils.model_and_data(workspace)
    theirs = cabinetry.fit.fit(model, data)
    k = theirs.labels.index("strength")
    assert theirs.bestfit[k] == pytest.approx(1.0, abs=0.01)
    m = minuit(PyhfCost.from_workspace(workspace))
    m.migrad()
    m.hesse()
    np.testing.assert_allclose(fit_results(m).uncertainty, theirs.uncertainty, rtol=0.01, atol=1e-9)
    # With the morphing the strength would do what mu does, and is fixed.
    cost = import_workspace(workspace)
    assert cost.fixed == ("strength",)
    assert minuit(cost).migrad().values["mu"] == pytest.approx(0.3, abs=0.01)
    # Without it pyhf refuses the measurement that records it.
    with pytest.raises(pyhf.exceptions.InvalidModel):
        pyhf.Workspace(workspace).model(measurement_name="milinfer_morphing_x0")


def test_export_refuses_what_does_not_fit(templates):
    bad = {
        "luminosity=": {"templates": templates_of(luminosity=None)},
        r"counts have shape \(3,\)": {"counts": [1, 2, 3]},
        "counts of x0 must be 5 numbers": {"counts": -COUNTS},
        "yields of tt must be 5 numbers": {"background": [BackgroundYields("tt", [1.0, 2.0])]},
        "different names": {"background": [BackgroundYields("tt", 1.0)] * 2},
        "is for ww; the samples are signal": {"systematics": [Systematic("a", 0, 0.1, ("ww",))]},
        "is given twice for the sample": {"systematics": [Systematic("a", -0.1, 0.1)] * 2},
        "must be above -1": {"systematics": [Systematic("a", -1.2, 0.1)]},
        r"shape \(2,\); give one number": {"systematics": [Systematic("a", [0.1, 0.1], 0.1)]},
        "have other parameters": {
            "systematics": [Systematic("a", templates_of(degree=3), templates_of(degree=3))]
        },
        "relative, such as": {"luminosity_uncertainty": 2.0},
    }
    for message, options in bad.items():
        arguments = {"templates": templates, "counts": COUNTS} | options
        with pytest.raises(TemplateError, match=message):
            export_workspace(**arguments)
    with pytest.raises(ParameterError, match="outside the range"):
        export_workspace(templates, COUNTS, point={"mu": 2.0})


def broken(workspace, change):
    spec = copy.deepcopy(workspace)
    change(spec)
    return spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("version"), "at /: 'version' is a required property"),
        (
            lambda s: s["observations"][0].update(name="y"),
            "at /channels/0: channel 'x0' has no obs",
        ),
        (
            lambda s: s["observations"][0]["data"].pop(),
            "at /channels/0/samples/0/data: 5 bins, but 4 in the observation of channel 'x0'",
        ),
        (
            lambda s: s["observations"][0].update(data=[1, 2, -3, 4, 5]),
            "at /observations/0/data: counts of channel 'x0' .* not negative",
        ),
        (
            lambda s: s["channels"][0]["samples"][0]["modifiers"][1]["data"].update(hi=-1.0),
            "at /channels/0/samples/0/modifiers/1/data/hi: normsys 'trigger' needs positive",
        ),
        (
            lambda s: s["channels"][0]["samples"][0]["modifiers"][2]["data"]["hi_data"].pop(),
            "at /channels/0/samples/0/modifiers/2/data/hi_data: 4 bins, but 5",
        ),
        (
            lambda s: s["channels"][0]["samples"][0]["modifiers"][1]["data"].pop("hi"),
            "at /channels/0/samples/0/modifiers/1",
        ),
        (
            lambda s: s["channels"][0]["samples"][1].update(name="signal_0"),
            "at /channels/0/samples/1/name: the name 'signal_0' is used twice",
        ),
        (
            lambda s: s["measurements"][0]["config"]["parameters"].pop(),
            "at /measurements/0/config/parameters: samples have the modifier lumi",
        ),
        (
            lambda s: s["measurements"][0]["config"]["parameters"][0].update(bounds=[[1.0]]),
            "at /measurements/0/config/parameters/0/bounds: bounds of w_x0_0 must be pairs",
        ),
        (
            lambda s: s["measurements"][0]["config"]["parameters"][0].update(inits=[99.0]),
            "at /measurements/0/config/parameters/0/inits: w_x0_0 starts at 99.0, outside",
        ),
    ],
)
def test_errors_point_at_the_place(full, tmp_path, change, message):
    file = tmp_path / "ws.json"
    file.write_text(json.dumps(broken(full, change)))
    with pytest.raises(WorkspaceError, match=f"ws.json, {message}"):
        read_workspace(file)


def test_files_that_are_no_workspaces(full, tmp_path):
    file = tmp_path / "ws.json"
    with pytest.raises(WorkspaceError, match="cannot be read"):
        read_workspace(file)
    for text, message in (
        ('{"channels": [', "is not JSON: .* line 1, column 15; it may be cut off"),
        ('{"channels": NaN}', "has the number NaN"),
        ("[1]", "at /: .* is not of type 'object'"),
        ('{"milinfer_belt": 1}', "at /: "),
    ):
        file.write_text(text)
        with pytest.raises(WorkspaceError, match=message):
            read_workspace(file)
    with pytest.raises(WorkspaceError, match=r"contains no morphing; read"):
        import_workspace(broken(full, lambda s: s["measurements"].pop()))

    def forget(spec):
        del spec["measurements"][1]["config"]["parameters"][0]

    with pytest.raises(
        WorkspaceError, match=r"3 factors do not form a morphing basis in 0 .*export the templates"
    ):
        import_workspace(broken(full, forget))

    def rename(spec):
        spec["measurements"][1]["config"]["parameters"][-1]["name"] = "w_other"

    with pytest.raises(TemplateError, match="'w_other', which is not a normfactor of the model"):
        import_workspace(broken(full, rename))


def test_patches(full, tmp_path):
    base = tmp_path / "ws.json"
    write_workspace(full, base)
    operations = [{"op": "replace", "path": "/observations/0/data", "value": [1, 2, 3, 4, 5]}]
    patch = tmp_path / "patch.json"
    patch.write_text(json.dumps(operations))
    assert read_workspace(base, patch=patch)["observations"][0]["data"] == [1, 2, 3, 4, 5]
    patchset = {
        "metadata": {
            "references": {"hepdata": "ins1234567"},
            "description": "signals",
            "digests": {"sha256": pyhf.utils.digest(full)},
            "labels": ["mass"],
        },
        "patches": [{"metadata": {"name": "m300", "values": [300]}, "patch": operations}],
        "version": "1.0.0",
    }
    set_file = tmp_path / "set.json"
    set_file.write_text(json.dumps(patchset))
    for signal in ("m300", [300]):
        patched = read_workspace(base, patch=set_file, signal=signal)
        assert patched["observations"][0]["data"] == [1, 2, 3, 4, 5]
    for arguments, message in (
        ({"patch": set_file}, "has 1 patches; choose one with signal=: m300"),
        ({"patch": set_file, "signal": "m400"}, "cannot be applied to .*m400"),
        ({"patch": patch, "signal": "m300"}, "not a set to choose"),
        ({"signal": "m300"}, "give its file as patch="),
    ):
        with pytest.raises(WorkspaceError, match=message):
            read_workspace(base, **arguments)
    operations[0]["path"] = "/observations/7/data"
    patch.write_text(json.dumps(operations))
    with pytest.raises(WorkspaceError, match=r"patch.json cannot be applied to .*ws.json"):
        read_workspace(base, patch=patch)
    patchset["metadata"]["digests"]["sha256"] = "0" * 64
    set_file.write_text(json.dumps(patchset))
    with pytest.raises(WorkspaceError, match="cannot be applied"):
        read_workspace(base, patch=set_file, signal="m300")
    del patchset["metadata"]["labels"]
    set_file.write_text(json.dumps(patchset))
    with pytest.raises(WorkspaceError, match=r"set.json, at /metadata: 'labels'"):
        read_workspace(base, patch=set_file, signal="m300")
    operations[0] |= {"path": "/observations/0/data", "value": [-1, 2, 3, 4, 5]}
    patch.write_text(json.dumps(operations))
    with pytest.raises(WorkspaceError, match=r"ws.json with .*patch.json, at /observations/0"):
        read_workspace(base, patch=patch)


def test_inspect_says_what_a_workspace_is(full, tmp_path):
    write_workspace(full, tmp_path / "ws.json")
    arguments = ["inspect", str(tmp_path / "ws.json"), "--json", str(tmp_path / "facts.json")]
    result = CliRunner().invoke(cli.cli, arguments)
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["kind"] == "HistFactory workspace"
    assert facts["channels"] == "x0 (5 bins, 5 samples, 108 events)"
    assert facts["morphing"] == "x0 in mu (3 basis points)"


def test_normal_constraints_of_pyhf_are_there(full):
    twice = -2 * norm.logpdf(1.0)
    plain = PyhfCost.from_workspace(
        broken(full, lambda s: s["observations"][0].update(data=[0.0] * 5))
    )
    rates = sum(plain.expected(*plain.start.values())["x0"])
    constants = plain(*plain.start.values()) - 2 * rates
    up = plain.start | {"trigger": 1.0}
    risen = plain(*up.values()) - 2 * sum(plain.expected(*up.values())["x0"]) - constants
    assert risen == pytest.approx(twice + 2 * norm.logpdf(0.0), abs=1e-9)


def test_require_workspace_takes_what_pyhf_takes():
    model = pyhf.simplemodels.uncorrelated_background([12.0], [50.0], [3.0])
    require_workspace(dict(pyhf.Workspace.build(model, [60.0])))


def test_shifts_are_shown_as_they_were_given(templates):
    with pytest.raises(TemplateError, match=r"n: relative shifts must .*, not -1\.2 and 0\.3$"):
        export_workspace(templates, COUNTS, systematics=[Systematic("n", -1.2, 0.3)])


BACKGROUND = {
    "channels": [
        {
            "name": "SR",
            "samples": [
                {
                    "name": "top",
                    "data": [50.0, 60.0],
                    "modifiers": [
                        {"name": "mu_top", "type": "normfactor", "data": None},
                        {"name": "scale", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
                    ],
                }
            ],
        }
    ],
    "observations": [{"name": "SR", "data": [58.0, 74.0]}],
    "measurements": [
        {
            "name": "m",
            # HEPData's background-only files also configure parameters that no sample has.
            "config": {"poi": "", "parameters": [{"name": "mu_BG", "fixed": True}]},
        }
    ],
    "version": "1.0.0",
}
SIGNAL = {
    "name": "signal",
    "data": [5.0, 10.0],
    "modifiers": [{"name": "mu_SIG", "type": "normfactor", "data": None}],
}
ADD_SIGNAL = [{"op": "add", "path": "/channels/0/samples/1", "value": SIGNAL}]


def background_only(poi, observed=(58.0, 74.0), **sample):
    spec = copy.deepcopy(BACKGROUND)
    spec["measurements"][0]["config"]["poi"] = poi
    spec["observations"][0]["data"] = list(observed)
    spec["channels"][0]["samples"][0] |= sample
    return spec


def written(tmp_path, spec, name="ws.json"):
    (tmp_path / name).write_text(json.dumps(spec))
    return tmp_path / name


def test_a_measurement_needs_no_parameter_of_interest(tmp_path):
    workspace = read_workspace(written(tmp_path, background_only("")))
    assert workspace_facts(workspace)["measurements"] == "m (no parameter of interest)"
    cost = PyhfCost.from_workspace(workspace)
    m = minuit(cost).migrad()
    # One factor of two bins: its maximum is the ratio of the sums.
    assert m.values["mu_top"] == pytest.approx(132 / 110, abs=1e-3)
    assert list(cost.start) == ["mu_top", "scale"]


def test_background_only_workspaces_name_a_signal_that_they_lack(tmp_path):
    workspace = read_workspace(written(tmp_path, background_only("mu_SIG")))
    assert "background only: no sample has mu_SIG" in workspace_facts(workspace)["measurements"]
    with pytest.warns(
        MilinferWarning, match=r"'mu_SIG' of measurement 'm'.*background alone.*patch="
    ):
        cost = PyhfCost.from_workspace(workspace)
    plain = PyhfCost.from_workspace(background_only(""))
    assert cost(1.1, 0.3) == plain(1.1, 0.3)
    with pytest.warns(MilinferWarning, match="did you mean mu_top"):
        PyhfCost.from_workspace(background_only("mu_tpo"))


@pytest.mark.parametrize("poi", ["", "mu_SIG"])
@pytest.mark.parametrize("kind", ["patch", "set"])
def test_patches_of_workspaces_without_a_parameter_of_interest(tmp_path, poi, kind):
    spec = background_only(poi)
    content = ADD_SIGNAL
    if kind == "set":
        content = {
            "metadata": {
                "name": "signals",
                "description": "signals of a test",
                "digests": {"sha256": pyhf.utils.digest(spec)},
                "labels": ["mass"],
                "references": {"hepdata": "ins1234567"},
            },
            "patches": [{"metadata": {"name": "m300", "values": [300]}, "patch": ADD_SIGNAL}],
            "version": "1.0.0",
        }
    patch = written(tmp_path, content, "patch.json")
    workspace = read_workspace(
        written(tmp_path, spec), patch=patch, signal="m300" if kind == "set" else None
    )
    cost = PyhfCost.from_workspace(workspace)
    assert set(cost.start) == {"mu_top", "scale", "mu_SIG"}
    assert cost.model.config.poi_name == (poi or None)
    expected = "JSON patch of a workspace" if kind == "patch" else "patch set of pyhf"
    facts = patch_facts(patch)
    assert facts["kind"] == expected
    if kind == "set":
        assert facts["patches"] == "1: m300"
        assert "signal='m300'" in facts["used by"]
    else:
        assert facts["changes"] == "add /channels/0/samples/1"


@pytest.mark.parametrize(
    ("modifier", "fills"),
    [
        (None, False),
        ({"name": "f", "type": "shapefactor", "data": None}, False),
        ({"name": "s", "type": "staterror", "data": [1.0, 1.0]}, False),
        (
            {
                "name": "h",
                "type": "histosys",
                "data": {"lo_data": [49.0, 0.0], "hi_data": [51.0, 0.0]},
            },
            False,
        ),
        (
            {
                "name": "h",
                "type": "histosys",
                "data": {"lo_data": [49.0, 0.0], "hi_data": [51.0, 2.0]},
            },
            True,
        ),
    ],
)
def test_a_bin_that_nothing_can_fill_is_named_before_the_fit(modifier, fills):
    free = {"name": "mu_top", "type": "normfactor", "data": None}
    modifiers = [free, modifier] if modifier else [free]
    spec = background_only("", data=[50.0, 0.0], modifiers=modifiers)
    if fills:
        assert "bins that cannot be filled" not in workspace_facts(spec)
        assert np.isfinite(PyhfCost.from_workspace(spec)(1.0, 1.0))
        return
    assert workspace_facts(spec)["bins that cannot be filled"] == "SR bin 1 (expects 0, has 74)"
    with pytest.raises(
        TemplateError, match=r"channel SR, bin 1 \(counted from 0\), has 74 observed.*no modifier"
    ):
        PyhfCost.from_workspace(spec)
    # What is expected has no events there, and neither do these data.
    assert PyhfCost.from_workspace(spec, asimov={}).data[:2].tolist() == [50.0, 0.0]
    PyhfCost.from_workspace(background_only("", (58.0, 0.0), data=[50.0, 0.0]))  # no events


def test_a_patch_can_fill_the_bin(tmp_path):
    spec = background_only("mu_SIG", data=[50.0, 0.0])
    patch = written(tmp_path, ADD_SIGNAL, "patch.json")
    workspace = read_workspace(written(tmp_path, spec), patch=patch)
    assert np.isfinite(PyhfCost.from_workspace(workspace)(1.0, 0.0, 1.0))


@pytest.mark.parametrize(
    "content",
    [
        {"metadata": {"hs3_version": "0.2.0"}, "distributions": [], "likelihoods": []},
        {"distributions": [], "likelihoods": [], "domains": []},
    ],
)
def test_a_likelihood_in_the_hs3_format_is_called_so(tmp_path, content):
    with pytest.raises(WorkspaceError, match=r"ws\.json is a likelihood in the HS3 format.*pyhf"):
        read_workspace(written(tmp_path, content))
