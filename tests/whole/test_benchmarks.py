"""Every benchmark runs at its quick size and prints a JSON line that says something true."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import milinfer as mil
from benchmark_keys import BAR, missing
from scripts import load_script

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = sorted(
    path.stem for path in BENCHMARKS.glob("*.py") if "def main(" in path.read_text("utf-8")
)


@pytest.fixture
def load(monkeypatch):
    """Import a benchmark by its path: its name may be that of another module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name):
        return load_script(BENCHMARKS / f"{name}.py")

    return load


@pytest.fixture
def run(load, monkeypatch, tmp_path, capsys):
    """What a benchmark prints last; it works in this process, where TensorFlow is loaded once."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        load(name).main(["--quick", *map(str, arguments)])
        record = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert all(math.isfinite(x) for x in numbers(record))
        assert missing(name, record, quick=True) == []
        return record

    return run


def numbers(record):
    if isinstance(record, dict):
        record = list(record.values())
    if isinstance(record, list):
        return [x for item in record for x in numbers(item)]
    return [record] if isinstance(record, int | float) else []


def positive(record):
    return bool(numbers(record)) and all(x > 0 for x in numbers(record))


def test_every_benchmark_is_run_here():
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert NAMES
    assert set(NAMES) <= tests


# What a tiny training or few events are warned of is no concern here.
pytestmark = [
    pytest.mark.early,
    pytest.mark.filterwarnings("ignore::milinfer.exceptions.MilinferWarning"),
]


def test_background(run):
    """A background that is taken for signal shifts the estimate, and its exact ratio does not."""
    rows = {row["treatment"]: row for row in run("background")["rows"]}
    assert set(rows) == {"exact", "network", "trees", "ignored"}
    assert abs(rows["exact"]["bias"]) < 4 * rows["exact"]["bias_error"]
    assert rows["ignored"]["bias"] > 10 * rows["ignored"]["bias_error"]
    assert all(0 <= row["coverage68"] <= row["coverage95"] <= 1 for row in rows.values())


def test_cluster(run, tmp_path):
    record = run("cluster", "--json", tmp_path / "cluster.json")
    assert len(record["seconds"]) == 8
    assert positive(record)
    assert json.loads((tmp_path / "cluster.json").read_text("utf-8")) == record


def test_cost(run):
    """What the package adds up is the plain sum of logarithms."""
    record = run("cost")
    assert set(record["rows"]) == {"oracle", "polynomial", "multiclass"}
    for row in record["rows"].values():
        assert set(row) == {"plain", "with_rate", "calibrated", "many"}
    several = record.pop("several")
    assert record.pop("several_clock") == "wall"
    assert positive({key: value for key, value in record.items() if key != "error"})
    assert 0 <= record["error"] < 1e-9
    assert set(several) == {
        *("2 parameters, degree 2", "2 parameters, degree 4"),
        *("5 parameters, degree 2", "10 parameters, degree 2"),
    }
    for sizes in several.values():
        for figures in sizes.values():
            assert figures["call_us"] > 0
            assert figures["plain_us"] > 0
            assert 0 <= figures["error"] < 1e-9
            assert (figures["bound"] > 0) == (figures["box_ms"] > 0)


def test_demo_seeds(run, load, tmp_path, capsys):
    """Each seed has its rows, and the table is that of the rows."""
    file, golden = tmp_path / "seeds.json", tmp_path / "golden.json"
    record = run("demo_seeds", "--json", file, "--golden", golden)
    rows = {row["method"]: row for row in record["rows"]}
    for method in ("polynomial-joint", "pyhf", "oracle"):
        own = record[method]
        assert own["n"] == 1
        assert own["inside68"] <= own["inside95"] <= 1
        assert own["inside68"] == rows[method]["inside68"]
        assert 0 < own["mean_coverage68"] <= own["mean_coverage95"] <= 1
        assert own["mean_half_width68"] == rows[method]["half_width68"] > 0
    assert record["mean_seconds"] > 0
    # One seed has no deviation.
    assert json.loads(golden.read_text("utf-8"))["mean_and_deviation"] == {}
    assert json.loads(file.read_text("utf-8")) == record
    load("demo_seeds").main(["--table", str(file)])
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + len(rows)
    first = record["rows"][0]
    assert table[2].startswith(f"| 1 | {first['method']} |")
    # The errors from the toys and from the pool.
    assert table[2].endswith(f"± {first['coverage68_pool_error']:.1%} |")
    assert table[2].count("±") == 4


def test_demo_seeds_calls_the_demo_as_it_is(load, tmp_path):
    """The quick size does not run the command, whose options may change."""
    from milinfer.cli.demo import demo

    module = load("demo_seeds")
    sizes = {"events": 2500, "data_events": 250, "pool_events": 5000, "truth": 0.1, "toys": 300}
    assert tuple(sizes) == module.SIZES
    options = demo.make_context("demo", module.demo_arguments(tmp_path, 3, sizes)).params
    assert options["seed"] == 3
    assert {**sizes, "n_toys": 300}.items() - options.items() == {("toys", 300)}


def test_efficiency(run):
    """The exact likelihood ratio has all information, and no network more."""
    rows = run("efficiency")["rows"]
    heads = [(row["problem"], row["head"]) for row in rows]
    assert heads == [
        ("quadratic", "oracle"),
        ("quadratic", "polynomial-joint"),
        ("quadratic2", "oracle"),
        ("quadratic2", "polynomial-joint"),
        ("vbf_hww", "oracle"),
        ("vbf_hww", "oracle-observable"),
        ("vbf_hww", "polynomial-joint"),
    ]
    for row in rows:
        if row["head"] == "oracle":
            assert abs(row["info_ratio"] - 1) < 0.2
        assert 0 < row["info_ratio"] < 1.2


def test_fuzz(run):
    record = run("fuzz")
    for reader in ("lhe", "toml", "workspace", "saved", "model", "points"):
        own = record[reader]
        assert own["findings"] == 0
        assert own["read"] + own["refused"] == own["runs"] > 0


ATHERIS = """
import sys
from contextlib import contextmanager
from pathlib import Path

loaded = lambda: sorted(m for m in sys.modules if m.partition(".")[0] == "milinfer")


@contextmanager
def instrument_imports(include):
    assert include == ["milinfer"] and loaded() == []
    yield
    global before
    before = loaded()
    assert "milinfer.io.lhe.cleaning" in before


def Mutate(data, most):
    return data[:most]


def Setup(arguments, one, custom_mutator):
    global call, seeds, mutate
    call, mutate, seeds = one, custom_mutator, sorted(Path(arguments[-1]).iterdir())


def Fuzz():
    for seed in seeds:
        call(seed.read_bytes())
        for number in range(4):
            damaged = mutate(seed.read_bytes(), 2000, number)
            assert isinstance(damaged, bytes) and len(damaged) <= 2000
            call(damaged)
    print(len(seeds), "seeds;", "not instrumented:", set(loaded()) - set(before))
"""


def test_the_guided_fuzzing_sees_every_module(tmp_path):
    """With a double of atheris, which only some machines can install."""
    (tmp_path / "atheris.py").write_text(ATHERIS)
    command = [sys.executable, str(BENCHMARKS / "fuzz.py"), "--engine", "atheris"]
    options = ["--reader", "lhe", "--minutes", "0.01", "--keep", str(tmp_path / "keep")]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert result.stdout.strip() == "5 seeds; not instrumented: set()", result.stderr


def test_histograms(run):
    """A histogram of the network's output has no more information than the network."""
    record = run("histograms")
    (row,) = record["rows"].values()
    methods = row["methods"]
    assert {"polynomial-joint", "weighted", "weighted quantiles"} <= set(methods)
    for figures in methods.values():
        assert 0 < figures["info_over_network"] < 1.5
        assert all(0 <= c <= 1 for c in figures["coverage"])
        assert set(figures["info_over_network_away"]) == {"-0.3", "0.3"}
    assert methods["polynomial-joint"]["info_over_network"] == 1
    assert row["filled_anew"]["n"] == 2
    assert record["seconds"] > 0
    (two,) = record["two_parameters"].values()
    for place in two["places"].values():
        assert set(place) == {
            *("exact", "polynomial-joint", "two scores", "two scores, quantiles"),
            "two exact scores",
        }
        assert place["exact"]["info_over_exact"] == 1
        # No binning of the exact scores has more information than they have.
        scores = place["two exact scores"]
        assert scores["info_over_exact"] < 1 + 4 * scores["info_over_exact_error"]
        for figures in place.values():
            assert np.linalg.eigvalsh(figures["info_eff"]).min() > 0
    expected = two["expected_on_c1"]
    assert expected["two exact scores"]["c2_fitted"] > 0.8
    # One score cannot tell c1 and c2 apart.
    assert expected["one score"]["c2_fitted"] < 0.5 * expected["one score"]["c2_known"]


def test_evaluation(run):
    record = run("evaluation")
    assert positive(record["network"])
    assert record["network"]["largest_difference"] < 1e-5
    assert record["cold_start"]["fit_imports_tensorflow"] is False


def test_instruction_sets(run):
    differences = run("instruction_sets")["differences"]
    assert len(differences) == 1
    assert all(0 <= x < 1 for x in numbers(differences))


def test_interval_coverage(run, tmp_path):
    """The exact likelihood ratio covers; one that is too narrow by known factors does not."""
    record = run("interval_coverage", "--out", tmp_path / "figures")
    rows = record["rows"]
    assert {row["problem"] for row in rows} == {"gaussian", "vbf_hww"}
    assert all(0 <= row["coverage"] <= 1 for row in rows)
    exact = [row for row in rows if (row["model"], row["method"]) == ("exact", "as it is")]
    assert len(exact) == 6
    assert all(abs(row["pull"]) < 4 for row in exact)
    assert positive(record["toys_100k_s"])
    assert (tmp_path / "figures" / "coverage_gaussian_exact.svg").is_file()


def test_many_operators(run, tmp_path):
    """No head has more information than there is, and the response is near the unit matrix."""
    record = run("many_operators", "--json", tmp_path / "rows.json")
    assert set(record["rows"]) == {"2", "5"}
    for n, row in record["rows"].items():
        assert 0 < row["info_ratio"] < 1 + 4 * row["info_ratio_error"]
        assert np.shape(row["response"]) == (int(n), int(n))
        assert row["response_off"] < 1
        assert row["one_square"]["outputs"] == 2 * int(n) <= row["outputs"]
        assert row["failed"] < row["toys"]
        assert 0 <= row["coverage_joint"] <= 1
        assert 0 <= row["coverage_c1"] <= 1
        assert positive([row[key] for key in ("call_us", "grad_us", "contour_s", "peak_mb")])
    assert json.loads((tmp_path / "rows.json").read_text("utf-8")) == record


def test_compare_peers(run, load, tmp_path):
    """Plain arrays go through every package here; one that is found nowhere is named."""
    file = tmp_path / "peers.json"
    peers = ["milinfer", "xgboost", "pyhf", "madminer"]
    nowhere = str(tmp_path / "python")
    record = run(
        "compare_peers", "--json", file, "--work", tmp_path, "--peer", *peers,
        "--python", f"madminer={nowhere}",
    )  # fmt: skip
    missing = dict(record["not_measured"])
    assert nowhere in missing.pop("madminer")
    assert {"sbi", "hepstats", "milinfer: polynomial head"} < set(missing)
    assert set(missing.values()) == {"not chosen"}
    rows = {row["method"]: row for row in record["rows"]}
    exact = rows.pop("exact")
    assert abs(exact["info_over_bound"] - 1) < 4 * exact["info_over_bound_error"]
    assert {row["peer"] for row in rows.values()} == {"milinfer", "xgboost", "pyhf"}
    for row in rows.values():
        assert row["info_over_bound"] < 1 + 4 * row["info_over_bound_error"]
        assert ("not_calibrated" in row) != ("calibrated" in row)
        assert positive([row[k] for k in ("toys_per_s", "dataset_cpu_ms", "peak_mb")])
    binned = [rows[f"{name}, bins of a score"] for name in ("pyhf", "cabinetry")]
    # Fits of the normalisation at each θ have the ratios of the shares of the bins.
    assert all(row["dataset_difference"] < 1e-6 for row in binned)
    assert binned[0]["info_over_bound"] == binned[1]["info_over_bound"] > 0.2
    (bags,) = record["bags"]
    assert 0 <= bags["score"] <= 1
    # No event is in two of the three files.
    parts = [np.load(tmp_path / "arrays" / "quadratic" / f"{name}.npz")["x"] for name in PARTS]
    events = np.concatenate(parts)
    assert len(np.unique(events, axis=0)) == len(events)
    for row in record["intervals"]:
        assert 0 <= row["coverage"] <= 1
        assert row["width"] == pytest.approx(0.2, abs=0.05)
    tables = {name: of(record) for name, of in load("compare_peers").TABLES.items()}
    assert all(tables.values())
    assert "madminer (" in tables["made"]


PARTS = ("train", "calibration", "evaluation")


def test_labelled_bags(run, load):
    """Bags are what they are said to be, and every task and setting has its scores."""
    module = load("labelled_bags")
    for name, width in (("moons", 1.0), ("faint", 0.3), ("corner", None)):
        bags, labels = module.TASKS[name](40, [1, 2])
        assert labels.mean() == 0.5
        for bag, label in zip(bags, labels, strict=True):
            if name == "corner":
                assert np.any((bag[:, 0] > 1) & (bag[:, 1] > 1)) == label
            else:
                assert bag.shape == (40, 8)
                assert np.std(bag[:, 2:]) == pytest.approx(width, rel=0.3)
    # Other settings train as the default ones do, if the estimators know them.
    for settings in module.SETTINGS.values():
        assert settings.items() <= mil.BagClassifier(**settings).get_params().items()
        assert settings.items() <= mil.BagRegressor(**settings).get_params().items()
    rows = run("labelled_bags")["rows"]
    assert [(r["task"], r["setting"]) for r in rows] == [(task, "default") for task in module.TASKS]
    for row in rows:
        assert row["score"] <= 1
        assert row["loss"] > 0
        assert row["epochs"] >= 1


def test_heads(run, load, tmp_path, capsys):
    """Normalised and as trained, on the same toys; the table is that of the rows."""
    file = tmp_path / "rows.json"
    rows = run("heads", "--json", file)["rows"]
    assert [r["model"] for r in rows] == [
        "polynomial, order 1", "multi-class, bags of 1", "multi-class, bags of 1, as trained"
    ]  # fmt: skip
    for row in rows:
        assert 0 <= row["info_over_exact"] < 1 + 4 * row["info_over_exact_error"]
        assert 0 <= row["edge"] <= 1
        assert ("not_calibrated" in row) != ("coverage" in row)
    assert rows[1] | {"model": ""} != rows[2] | {"model": ""}
    load("heads").main(["--table", str(file)])
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(rows)


def test_operators(run):
    """By parity nothing ties c_HWtil to the others, and c_Hbox changes rates alone."""
    record = run("operators")
    for figures in (record["parton_level"], record["observables"]):
        information, error = (np.array(figures["information"][k]) for k in ("value", "error"))
        assert np.all(np.abs(information[0, 1]) < 4 * error[0, 1])
        assert (np.diag(information)[:2] > 5 * np.diag(error)[:2]).all()
        assert np.abs(information[2]).max() < 1e-9
        slopes, slope_error = (np.array(figures["slopes"][k]) for k in ("value", "error"))
        assert abs(slopes[1]) < 4 * slope_error[1]
        assert slopes[2] == pytest.approx(0.2425, rel=1e-3)
    left, error = (np.array(record["observables"]["retained"][k]) for k in ("value", "error"))
    assert (left < 1 + 4 * error).all()
    assert (left > 0.5).all()
    assert record["observables"]["events_per_s"] > 0
    kept = [row["kept"] for row in record["score_bins"]["rows"]]
    assert 0 < kept[0] < kept[1] < 1.2
    methods = record["networks"]["methods"]
    few = "two scores, 4 × 4 bins"
    assert set(methods) == {
        "oracle", "polynomial-joint", few, f"{few}, some nearly empty", "one score"
    }  # fmt: skip
    assert methods["oracle"]["info_over_exact"] == pytest.approx(1.0)
    for of_method in methods.values():
        assert len(of_method["coverage"]) == 18
        inner, outer = of_method["areas"]
        assert 0 < inner < outer
    # Of one score c_HWtil is known by its square alone.
    assert methods["one score"]["areas"][0] > methods["oracle"]["areas"][0]
    assert len(methods["polynomial-joint"]["calibrated_coverage"]) == 18
    assert all(set(bar) == BAR for bar in record["short"])


def test_reading(run, tmp_path):
    """Numbers of both readers are the same, which the benchmark itself checks."""
    record = run("reading", "--out", tmp_path / "reading.json")
    assert positive(record)
    assert {"own", "own_weights", "madgraph", "madgraph_weights", "gzip"} < set(record)
    assert json.loads((tmp_path / "reading.json").read_text("utf-8")) == record


def test_response_events(run):
    """Each number of events has its figures, and no response is better than the exact one."""
    record = run("response_events")
    assert set(record["events"]) == {"300", "600"}
    for figures in record["events"].values():
        assert all(0 <= r < 1 for r in figures["correlation2"].values())
        assert all(e > 0.999 for e in figures["error_over_exact"].values())


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_response_streaming(run):
    """Both ways train, and learn something of the shift."""
    record = run("response_streaming")
    assert record["events"] == 30_000
    for kind in ("memory", "streamed"):
        assert record[kind]["seconds"] > 0
        assert record[kind]["error"]["shift"] < 0.5


def test_response_theta(run):
    """A straight line in θ is nearer to the exact fit than no dependence at all."""
    fits = run("response_theta", "--iterations", 60)["fits"]["c_HW=0.2,jet_scale=-2"]
    constant, line = (abs(fits[f"{kind}, -0.4 to 0.4"]["c_HW"]) for kind in ("constant", "linear"))
    assert line < constant


def test_systematics(run):
    """Fits of all methods, and toys, at two truths; the two ways to write the cost agree."""
    record = run("systematics")
    assert set(record["fits"]) == set(record["coverage"]) == {"c_HW=0", "c_HW=0,jet_scale=1"}
    for methods in record["fits"].values():
        assert set(methods) == {"exact", "learned", "ignoring", "histogram"}
        for name in ("exact", "learned", "ignoring"):
            assert methods[name]["failed"] == 0
            assert methods[name]["mean_error"] > 0
        assert methods["learned"]["error_over_exact"] > 0.8
    for coverage in record["coverage"].values():
        for name in ("learned", "calibrated", "belt"):
            assert 0 <= coverage[f"{name}_68.27"] <= coverage[f"{name}_95.45"] <= 1
            assert coverage[f"{name}_68.27_pool_error"] > 0
    assert positive({k: v for k, v in record["speed"].items() if isinstance(v, float)})


def test_bars(load, capsys):
    """It prints what the committed results list."""
    bars = load("bars")
    bars.main([])
    printed = capsys.readouterr().out.splitlines()
    listed = [
        (name, bar["bar"])
        for name in bars.BARS
        for bar in json.loads((bars.RESULTS / f"{name}.json").read_text("utf-8"))["short"]
    ]
    assert len(printed) == len(listed) > 0
    assert all(
        line.startswith(f"{name}: {bar}: ")
        for line, (name, bar) in zip(printed, listed, strict=True)
    )


def test_trend(run, tmp_path):
    """Figures that are worse by five errors are told, worst first."""
    record = run("trend", "--json", tmp_path / "trend.json")
    sigmas = [row["sigmas"] for row in record["worse"]]
    assert len(sigmas) > 100
    assert sigmas == sorted(sigmas, reverse=True)
    assert sigmas[-1] == pytest.approx(5)
    assert json.loads((tmp_path / "trend.json").read_text("utf-8")) == record


def test_combination(run):
    """Nine points, each by three methods."""
    record = run("combination")
    assert positive(record["seconds_per_toy"])
    rows = record["rows"]
    assert len(rows) == 27
    assert {row["method"] for row in rows} == {"as trained", "calibrated", "exact"}
    assert all(0 <= row["coverage"] <= 1 for row in rows)


def test_published_combination(run):
    """Six points, by networks and by exact ratios; toys without an interval are counted."""
    record = run("published_combination")
    rows = record["rows"]
    assert len(rows) == 12
    assert all(0 <= row["coverage"] <= 1 for row in rows)
    assert set(record["mean"]) == {"networks", "exact"}
    assert positive(record["seconds_per_toy"])


def test_committee(run, monkeypatch, tmp_path):
    """Each group of questions has its figures, and a group alone leaves the others in the file."""
    # Twenty pictures take longer than the rest of the blind analysis.
    monkeypatch.setattr("milinfer.workflow.report.draw_figures", lambda _: {})
    file = tmp_path / "committee.json"
    record = run("committee", "--json", file)
    assert record["expected"]["largest_slope_at_the_point"] < 1e-6
    assert record["expected"]["profiled_toys_per_second"] > 0
    impacts = record["impacts"]
    assert max(impacts["ranking_to_cabinetry"], impacts["observables_to_pyhf"]) < 1e-3
    assert max(impacts["closed_form"].values()) < 1e-3
    assert impacts["nuisance_at_a_limit"] == "both"
    for figures in record["goodness_of_fit"].values():
        assert figures["failed"] < figures["datasets"]
        assert {"all tests", "d_phi_qq", "score of c_HW"} <= figures["tests"].keys()
    assert set(record["goodness_of_fit"]) == {"as simulated", "jet scale +2 %", "background 5 %"}
    assert 0.05 < record["flat_azimuth"]["jets"]["largest_power"] < 1
    with_nuisances = record["goodness_of_fit_with_nuisances"]["tests"]
    assert {"all tests", "x0", "number of events"} <= with_nuisances.keys()
    assert record["limits"]["limits_to_pyhf"] < 1e-3
    assert record["bands"]["largest_pull"] < 5
    assert len(record["expected_of_network"]) == len(record["maxima"]) == 5
    assert all(row["disagreement"] == 0 for row in record["maxima"].values())
    blinding = record["blinding"]
    assert blinding["numbers"] > 100
    assert blinding["changed_by_other_data"] == blinding["changed_steps"] == 0
    assert blinding["openings"] == 1
    assert blinding["estimates_changed_by_opening"] > 0
    saved = json.loads(file.read_text("utf-8"))
    assert saved == record
    saved["impacts"]["closed_form"]["pull"] = 0.5
    file.write_text(json.dumps(saved), encoding="utf-8")
    again = run("committee", "--json", file, "--groups", "bands")
    assert again["impacts"] == saved["impacts"]
    assert "pull to its closed form" in [bar["bar"] for bar in again["short"]]
    assert "--groups bands" in again["commands"]["bands"]
    assert "--groups" not in again["commands"]["limits"]


def test_retrained(run):
    """By the law of total variance, scatter is that of toys and that of networks."""
    record = run("retrained")
    assert set(record["methods"]) == {"network", "calibrated", "score"}
    for rows in record["methods"].values():
        for figures in rows.values():
            assert figures["networks"] == 3
            assert 0 <= figures["least"] <= figures["mean"] <= figures["most"] <= 1
            scatter = figures["mean_error"] ** 2 * 3
            parts = figures["between"] ** 2 + figures["binomial"] ** 2
            assert parts >= scatter * (1 - 1e-9)
            if figures["between"]:
                assert parts == pytest.approx(scatter)


def test_scaling(run, tmp_path):
    record = run("scaling", "--figure", tmp_path / "scaling.svg")
    assert len(record) == 8
    for series in record.values():
        assert series["x"][0] < series["x"][1]
        assert positive([series["seconds"], series["peak_mb"]])
        assert series["bytes_each"] >= 0
    assert (tmp_path / "scaling.svg").is_file()


def test_simulation_error(run):
    """Widened intervals cover more often, and errors are compared with what they should be."""
    record = run("simulation_error")
    (figures,) = record["problems"].values()
    for name in ("estimate", "llr"):
        compared = figures[name]
        assert positive([compared["scatter"], compared["quoted"], compared["statistics"]])
        assert compared["ratio"] == pytest.approx(compared["quoted"] / compared["scatter"])
    assert 0 <= figures["data_share"] <= 1
    covers = {name: row["mean"] for name, row in figures["coverage"].items()}
    assert covers["with the error"] >= covers["as trained"]
    assert covers["calibrated, with its error"] >= covers["calibrated"]
    pools = {name: row["mean"] for name, row in record["pools"].items()}
    assert 0.4 < pools["calibrated"] < pools["calibrated, with its error"] < 0.9


def test_toys(run):
    """Toys of the package have the likelihood that the network gives their events."""
    record = run("toys")
    assert record["agreement"] < 1e-4
    assert positive({key: value for key, value in record.items() if key != "agreement"})
    assert set(record["rows"]) == {"multiclass", "polynomial", "attention"}


# Of Keras, about the reference's data.
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_training(run):
    record = run("training")
    assert {"events_per_s_n50", "ratio_n50", "gemm_fraction_joint"} < set(record)
    assert positive({key: value for key, value in record.items() if key != "devices"})
