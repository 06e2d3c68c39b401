"""What notebooks and terminals show: short, with errors, escaped."""

from __future__ import annotations

import html.parser
import io
import math
import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.diagnostics.bag_size import bag_size_slope, compare_ansaetze
from milinfer.diagnostics.roc import roc_curve
from milinfer.exceptions import ConfigurationError
from milinfer.intervals.coverage import Coverage, CoverageScan
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.learning.labelled_bags.search import SearchResult, SearchStep
from milinfer.likelihood.surface import Interpolation
from milinfer.toys.pool import Background
from milinfer.toys.toys import Toys
from milinfer.typing import Point
from milinfer.utils.display import (
    arrow_table,
    brief,
    html_facts,
    html_histogram,
    html_table,
    measured,
    point_cells,
    point_types,
    rich_table,
    shortened,
    tuples_table,
)


class Parser(html.parser.HTMLParser):
    """Tags in balance, and no element that a user could have made."""

    tables = ("table", "caption", "thead", "tbody", "tr", "th", "td")
    allowed = frozenset({*tables, "div", "p", "svg", "line", "polyline", "text"})

    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags = [], "", []

    def handle_startendtag(self, tag, attrs):
        assert tag in self.allowed, tag
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.tags.append(tag)

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(text):
    parser = Parser()
    parser.feed(text)
    parser.close()
    assert not parser.open
    return parser


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=3), TEXTS)
def test_every_text_is_escaped(rows, title):
    found = parsed(html_table(("a", "<b>"), rows, title=title))
    for text in ("<b>", title, *(c for row in rows for c in row)):
        assert re.sub(r"\s+", " ", text).strip() in re.sub(r"\s+", " ", found.text)
    assert found.tags.count("tr") == 1 + len(rows)
    found = parsed(html_facts(title, {title: title}))
    assert found.tags.count("tr") == (title != "")


def test_a_table_of_wrong_width_is_refused():
    with pytest.raises(ValueError, match="zip"):
        html_table(("a", "b"), [["1"]])


def test_marked_cells_have_their_colour():
    text = html_table(
        ("name", "outcome"), [["failed", "failed"]], marked=("outcome", {"failed": "#d64545"})
    )
    assert text.count("#d64545") == 1


@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e4))
def test_measured_keeps_value_and_error(value, error):
    shown, shown_error = map(float, measured(value, error).split(" ± "))
    assert abs(shown - value) <= 0.051 * error + 1e-4 * abs(value)
    assert shown_error == pytest.approx(error, rel=0.051, abs=0.5)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (None, None, "—"),
        (math.nan, 1.0, "—"),
        (1.5, math.nan, "1.5"),
        (1.5, 0.0, "1.5"),
        (1.5, math.inf, "1.5"),
        (50.0, 7.7e-16, "50"),
        (-0.5, 0.25, "-0.50 ± 0.25"),
        (math.inf, None, "inf"),
        (3e9, 2e7, "3e+09 ± 2e+07"),
    ],
)
def test_measured_at_its_limits(value, error, text):
    assert measured(value, error) == text


def test_long_things_are_shortened():
    class Found(NamedTuple):
        a: np.ndarray
        b: tuple
        c: str
        d: float

    text = brief(Found(np.zeros((5000, 2)), tuple(range(99)), "x" * 500, 1 / 3))
    assert text == (
        "Found(a=array of shape (5000, 2), b=tuple of 99, c=text of 500 characters, d=0.333333)"
    )
    assert shortened(list("abcdefghijk")) == "a, b, c, d, e, f, g, h and 3 more"


def test_markup_of_rich_is_text():
    from rich.console import Console

    console = Console(width=60, file=io.StringIO())
    words = ("[red]t", "[b]a", "[link=x]y", "[/b]c", "c:\\[", ":warning:")
    console.print(rich_table("[red]t", ["[b]a"], [[w] for w in words[2:]], caption="[/b]c"))
    text = console.file.getvalue()
    assert all(word in text for word in words)


def test_histogram_of_empty_bins_is_drawn():
    assert parsed(html_histogram([0, 1, 2], [0, 0], "<x>")).text.endswith("<x>")


# --- results of the package ------------------------------------------------------------------

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def samples():
    return gaussian.samples(4000, [-0.4, -0.2, 0.0, 0.2, 0.4], seed=1)


@pytest.fixture(scope="module")
def results(samples):
    """One of every kind that a user prints."""
    import dataclasses

    model = gaussian.MeanModel()
    toys = Toys(samples, n_events=50, seed=2)
    tuning = toys.scan([model], [-0.2, 0.0, 0.2], 400)["mean"]
    other = Toys(gaussian.samples(4000, [0.0], seed=7), n_events=50, seed=3)
    evaluation = other.run([model], 0.0, 400)["mean"]
    calibration = mil.calibrate(tuning)
    data = other.dataset({"mu": 0.0})
    cost = model.cost(data) if hasattr(model, "cost") else None
    if cost is None:
        from milinfer.likelihood.cost import dataset_cost

        cost = dataset_cost(model, data, reference=0.0)
    comparison = mil.compare({"mean": tuning}, {"mean": evaluation}, {"mean": cost})
    belt = mil.neyman(tuning)
    interval = mil.profile_interval(cost, "mu")
    sizes = np.array([1, 5, 25, 100, 400])
    info = 300 / (1 + 1.5 / np.sqrt(sizes))
    ansaetze = compare_ansaetze(sizes, info, np.full(5, 3.0))
    evil = dataclasses.replace(samples[0], process=EVIL)
    templates = mil.Templates.from_samples(samples, "x0", bins=6, degree=2, name=EVIL)
    information = mil.information(tuning[1], tuning)
    steps = (
        SearchStep("a", {"a": 1, "b": EVIL}, 0.5, 0.1),
        SearchStep("", {"a": 2, "b": "x"}, 0.4, 0.1),
    )
    scan = mil.coverage_scan(
        [evaluation], {EVIL: calibration, "asymptotic": None}, warn_of_pool=False
    )
    grid = np.linspace(-1, 1, 41)
    return {
        "sample": evil,
        "samples": mil.SampleSet((evil,)),
        "interval": interval,
        "toy intervals": toy_intervals(evaluation, calibration),
        "coverage": scan.rows[0],
        "scan": scan,
        "calibration": calibration,
        "toys": evaluation,
        "belt": belt,
        "confidence set": belt.interval(cost),
        "comparison": comparison,
        "method": comparison["mean"],
        "templates": templates,
        "bins": templates.diagnose(),
        "information": information,
        "matrix": mil.information_matrix(tuning, n_bootstrap=20),
        "relative": mil.intervals.relative_information(tuning, tuning, n_bootstrap=20),
        "ansaetze": ansaetze,
        "fit": ansaetze.fits[0],
        "trend": bag_size_slope(sizes, info, np.full(5, 3.0)),
        "search": SearchResult(steps[0].settings, 0.5, steps),
        "model": mil.BagLikelihood(head="multiclass", label=EVIL),
        "trees": mil.BoostedLikelihood(),
        "diagnosis": mil.diagnose(model, samples, n_toys=0),
        "fit results": mil.likelihood.fit_results(interval.minuit),
        "roc": roc_curve(np.arange(2000.0), np.arange(2000.0) - 5),
        "cost": cost,
        "calibrated cost": calibration(cost),
        "pool": mil.EventPool(mil.SampleSet((evil,))),
        "generator": dataclasses.replace(toys, background=(Background(evil, 3.0),), poisson=True),
        "template cost": templates.cost(data),
        "surface": Interpolation(grid, "spline").surface(-50 * grid**2),
    }


NAMES = [
    "sample", "samples", "interval", "toy intervals", "coverage", "scan", "calibration", "toys",
    "belt", "confidence set", "comparison", "method", "templates", "bins", "information", "matrix",
    "relative", "ansaetze", "fit", "trend", "search", "model", "trees", "diagnosis", "fit results",
    "roc", "cost", "calibrated cost", "pool", "generator",
]  # fmt: skip
WITHOUT_TABLE = {"sample", "model", "trees", "cost", "calibrated cost", "pool", "generator"}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_shows_it(results, name):
    found = parsed(results[name]._repr_html_())
    assert "table" in found.tags
    assert len(found.text) < 6000
    assert "nan" not in found.text.lower().replace("finan", "")


@pytest.mark.parametrize(
    "name",
    ["sample", "samples", "scan", "coverage", "templates", "search", "model", "pool", "generator"],
)
def test_what_a_user_wrote_is_text(results, name):
    text = results[name]._repr_html_()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("name", [*NAMES, "surface", "template cost"])
def test_text_is_short(results, name):
    for text in (repr(results[name]), str(results[name])):
        assert len(text) < 1200
        assert " object at 0x" not in text
        assert "array(" not in text or name == "fit results"  # which is cabinetry's


def test_costs_and_toys_say_what_they_are(results):
    assert repr(results["cost"]) == "LikelihoodCost(mean, 50 events, shape only, mu in [-1, 1])"
    assert "shape only, calibrated, mu in [" in repr(results["calibrated cost"])
    assert "events in 6 bins, shape only, mu in [" in repr(results["template cost"])
    assert repr(results["pool"]) == "EventPool(1 points in mu, 4000 events)"
    text = parsed(results["generator"]._repr_html_()).text
    assert "50 events (Poisson)" in text
    assert f"3 of {EVIL}" in text
    assert repr(results["generator"]).endswith("seed=2)")


@pytest.mark.parametrize("name", [n for n in NAMES if n not in WITHOUT_TABLE])
def test_its_table_has_types_and_no_empty_column(results, name):
    import pyarrow as pa

    table = results[name].to_table()
    assert isinstance(table, pa.Table)
    assert table.num_rows > 0
    assert not [f.name for f in table.schema if pa.types.is_null(f.type)]
    assert len(set(table.column_names)) == table.num_columns
    frame = table.to_pandas()
    assert frame.shape == (table.num_rows, table.num_columns)


def test_tables_have_the_numbers_of_the_results(results, samples):
    table = samples.to_table()
    assert table["point.mu"].to_pylist() == [-0.4, -0.2, 0.0, 0.2, 0.4]
    assert table["n_events"].to_pylist() == [4000] * 5
    information = results["information"]
    (row,) = information.to_table().to_pylist()
    assert row == information._asdict()
    scan = results["scan"]
    rows = scan.to_table().to_pylist()
    assert [r["coverage"] for r in rows] == [r.coverage for r in scan]
    assert [r["point.mu"] for r in rows] == [r.theta for r in scan]
    assert [r["pull"] for r in rows] == [r.pull for r in scan]
    assert [r["total_pull"] for r in rows] == [r.total_pull for r in scan]
    toys = results["toys"].to_table()
    assert np.array_equal(toys["estimate.mu"].to_numpy(), results["toys"].theta_hat)
    assert toys["toy"].to_pylist() == list(range(400))
    method = results["method"]
    (row,) = results["comparison"].to_table().to_pylist()
    figures = method.to_dict()
    assert [row["interval68.low"], row["interval68.high"]] == figures["interval68"]
    for name, value in figures.items():
        if not isinstance(value, list):
            assert row[name] == value, name
    templates = results["templates"]
    rows = templates.to_table().to_pylist()
    first = [r["cross_section"] for r in rows if r["point.mu"] == -0.4]
    assert first == templates.histograms[0].values().tolist()
    fitted = [r["fitted"] for r in rows if r["point.mu"] == 0.0]
    assert fitted == pytest.approx(templates.cross_sections({"mu": 0.0}))
    belt = results["belt"]
    rows = [r for r in belt.to_table().to_pylist() if r["cl"] == belt.cl[0]]
    assert [r["upper"] for r in rows] == belt.upper[:, 0].tolist()
    calibration = results["calibration"]
    table = calibration.to_table()
    assert table["c_bartlett"].to_pylist() == calibration.c_bartlett.tolist()
    assert table["c.68.27"][0].as_py() == calibration.scale_at(calibration.points[0], 0.6827)[0]


def test_an_empty_scan_has_all_columns_but_points():
    table = CoverageScan(()).to_table()
    assert table.num_rows == 0
    assert set(table.column_names) == {*Coverage._fields, "pull", "total_pull"} - {"point"}


def test_joined_toys_keep_their_seeds(samples):
    model = gaussian.MeanModel()
    one, two = (
        Toys(samples, n_events=50, seed=seed).run([model], 0.0, n)["mean"]
        for seed, n in ((2, 3), (3, 2))
    )
    table = (one + two).to_table()
    assert table["seed"].to_pylist() == [2, 2, 2, 3, 3]
    assert table["toy"].to_pylist() == [0, 1, 2, 0, 1]


def test_what_is_not_known_is_null():
    row = Coverage("m", "belt", {"mu": 0.0}, 0.68, 0.7, 0.01, 0.69, 0.71, 2000, math.nan)
    assert row.to_table()["pool_error"].to_pylist() == [None]


def test_a_trained_model_shows_its_history(samples):
    from milinfer.learning.networks.configs import TrainingConfig

    model = mil.BagLikelihood(
        head="multiclass", bag_size=5, seed=1, training=TrainingConfig(2, 2000)
    ).fit(samples)
    text = parsed(model._repr_html_()).text
    assert "5: mu=-0.4, mu=-0.2, mu=0, mu=0.2, mu=0.4" in text
    history = model.fitted.to_table()
    assert history["val_loss"].to_pylist() == model.fitted.history[0]["val_loss"]
    assert f"{min(model.fitted.history[0]['val_loss']):.5f}" in text
    assert len(repr(model.fitted)) < 1500
    assert "array(" not in repr(model.fitted)


def test_trained_trees_show_their_rounds(samples):
    model = mil.BoostedLikelihood(reference=0.0, seed=1).fit(samples)
    text = parsed(model._repr_html_()).text
    assert f"rounds{model.fitted.booster.num_boosted_rounds()}" in text
    losses = next(iter(model.fitted.history.values()))
    assert model.fitted.to_table().num_rows == len(losses)


def test_a_workspace_is_shown_in_a_few_words(samples, tmp_path):
    from milinfer.binned.workspaces import write_workspace

    templates = mil.Templates.from_samples(samples, "x0", bins=6, degree=2, luminosity=1.0)
    write_workspace(templates.workspace(np.full(6, 100.0)), tmp_path / "ws.json")
    workspace = mil.read_workspace(tmp_path / "ws.json")
    assert len(repr(workspace)) < 300
    assert "6 bins" in parsed(workspace._repr_html_()).text
    table = workspace.to_table()
    n_samples = sum(len(c["samples"]) for c in workspace["channels"])
    assert table.num_rows == 6 * n_samples
    assert set(table["observed"].to_pylist()) == {100.0}
    assert isinstance(workspace, dict)
    del workspace["observations"]
    assert repr(workspace) == "Workspace(x0)"


TYPES = {"a": float, "n": int, "s": str, "b": bool}
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "a": st.none() | st.floats(),
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "s": st.none() | st.text(st.characters(codec="utf-8")),
        "b": st.none() | st.booleans(),
    },
)


@given(st.lists(ROWS, max_size=4))
def test_rows_come_back(rows):
    table = arrow_table(TYPES, rows)
    assert table.schema.types == [pa.float64(), pa.int64(), pa.string(), pa.bool_()]
    for given_row, row in zip(rows, table.to_pylist(), strict=True):
        for name in TYPES:
            value = given_row.get(name)
            missing = value is None or (isinstance(value, float) and math.isnan(value))
            assert row[name] == (None if missing else value)


def test_a_column_without_a_type_is_refused():
    with pytest.raises(ConfigurationError, match=r"columns \['c'\] have no type"):
        arrow_table(TYPES, [{"c": 1}])


def test_points_are_columns():
    point = {"c_HW": 0.5, "c_W": -1.0}
    assert point_cells(point).keys() == point_types(list(point)).keys()


def test_named_tuples_leave_out_what_is_no_number():
    class Found(NamedTuple):
        name: str
        point: Point
        values: tuple[float, ...]
        count: int

        @property
        def twice(self) -> float:
            return 2.0 * self.count

    rows = tuples_table(Found, [Found("x", {"mu": 1.0}, (1.0,), 3)], ["twice"], model="m")
    assert rows.to_pylist() == [
        {"model": "m", "name": "x", "point.mu": 1.0, "count": 3, "twice": 6.0}
    ]
