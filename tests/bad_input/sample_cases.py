"""Arrays and samples in Python that cannot be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bad_input.harness import Case
from milinfer import Sample, SampleSet
from milinfer.exceptions import (
    ConfigurationError,
    LHEError,
    MilinferError,
    ParameterError,
    SampleError,
)
from milinfer.io import lhe
from milinfer.utils.points import parse_point

X = np.zeros((3, 1))


def case(
    name: str,
    call: Callable[[Any], object],
    place: str,
    remedy: str,
    error: type[MilinferError] = SampleError,
) -> Case:
    return Case(f"sample: {name}", lambda _: None, lambda _, out: call(out), error, place, remedy)


def one(mu: float = 0.0, **options: Any) -> Sample:
    return Sample(X, ("x",), point={"mu": mu}, **options)


def run(sigma: float, **options: Any) -> Sample:
    """A sample of a file with this cross-section."""
    return one(
        cross_section=sigma,
        cross_section_error=0.01,
        provenance={"files": [f"{sigma}.parquet"]},
        **options,
    )


def beams(energy: float) -> dict[str, Any]:
    return {"beams": [[2212, energy], [2212, energy]]}


PART = dict.fromkeys(["px", "py", "pz", "energy", "mass", "pdgId", "status", "mother1", "mother2"])


def events(counts: list[int], **changes: Any) -> object:
    columns = {name: np.ones(3) for name in PART} | changes
    return lhe.make_events(counts, columns, {"genWeight": np.ones(2), "LHE_processId": np.ones(2)})


CASES = [
    case("one row of features", lambda _: Sample(np.zeros(3), ("x",)), "signal: .*shape", "given"),
    case("more names than columns", lambda _: Sample(X, ("x", "y")), "signal: .*2 feature", "given"),  # noqa: E501
    case("a name twice", lambda _: Sample(np.zeros((3, 2)), ("x", "x")), "signal: .*'x'", "unique"),
    case("features of words", lambda _: Sample(np.array([["a"]]), ("x",)), "signal: features",
         "numbers"),
    case("features that are ragged", lambda _: Sample([[1.0], [1.0, 2.0]], ("x",)),
         "signal: features", "numbers"),
    case("complex features", lambda _: Sample(X + 1j, ("x",)), "signal: features", "numbers"),
    case("a NaN among features", lambda _: Sample(np.array([[0.0], [np.nan]]), ("x",)),
         "'x' is not finite in event 1", "fix or reject"),
    case("features beyond single precision", lambda _: Sample(np.array([[0.0], [1e39]]), ("x",)),
         "'x' is too large for float32 in event 1", "fix or reject"),
    case("fewer weights", lambda _: one(weights=np.ones(2)), "mu=0: 'weight' has shape", "3 events"),  # noqa: E501
    case("weights of words", lambda _: one(weights=np.array(["a", "b", "c"])), "mu=0: 'weight'",
         "numbers"),
    case("infinite weights", lambda _: one(weights=np.array([1.0, np.inf, 1.0])),
         "weight 'weight' is not finite in event 1", "fix or reject"),
    case("a reweight of NaN", lambda _: one(reweights={"a": np.array([np.nan, 1, 1])}),
         "weight 'a' is not finite in event 0", "fix or reject"),
    case("fewer reweights", lambda _: one(reweights={"a": np.ones(1)}), "'a' has shape", "3 events"),  # noqa: E501
    case("a point of NaN", lambda _: one(np.nan), "point", "finite"),
    case("a point of words", lambda _: Sample(X, ("x",), point={"mu": "big"}), "point", "finite"),
    case("a point of unknown reweights", lambda _: one(reweight_points={"a": {"mu": 1.0}}),
         "unknown weights .*'a'", "reweight"),
    case("a negative error", lambda _: one(cross_section_error=-1.0), "cross_section_error",
         "not negative|positive"),
    case("fractions above one", lambda _: one().split([0.7, 0.7], seed=1), "fractions", "at most 1"),  # noqa: E501
    case("fractions of nothing", lambda _: one().split([], seed=1), "fractions", "positive"),
    case("fractions of NaN", lambda _: one().split([np.nan], seed=1), "fractions", "positive"),
    case("an unknown column", lambda _: one().column("y"), "no feature 'y'", "it has x"),
    case("two kinds joined", lambda _: one() + one(1.0), "mu=0.*mu=1", "different points"),
    case("nothing joined", lambda _: Sample.concatenate([]), "concatenate", "at least one"),
    case("slices joined as they are", lambda _: run(1.0) + run(0.1),
         "0.1.parquet: 0.1 ± 0.01 pb; 1.0.parquet: 1 ± 0.01 pb", "combine='sum'.*combine='mean'"),
    case("a known and an unknown cross-section", lambda _: run(1.0) + run(np.nan),
         "1.0.parquet: 1 ± 0.01 pb; nan.parquet: unknown", "give cross_section="),
    case("joined in an unknown way", lambda _: Sample.concatenate([run(1.0)], combine="add"),
         "'add'", "'sum' .*'mean'", ConfigurationError),
    case("slices of no weight", lambda _: Sample.concatenate(
        [run(1.0), run(2.0, weights=np.array([1.0, -1.0, 0.0]))], combine="sum"),
         "2.0.parquet: its 3 weights add up to 0", "correct the weights"),
    case("an empty set", lambda _: SampleSet(()), "SampleSet", "at least one"),
    case("a point twice", lambda _: SampleSet((one(), one())), "mu=0", "join"),
    case("other parameters", lambda _: SampleSet((one(), Sample(X, ("x",), point={"a": 1.0}))),
         "a=1.*mu=0", "same parameter names"),
    case("other features", lambda _: SampleSet((one(), Sample(X, ("y",), point={"mu": 1.0}))),
         "different features", r"\(x, y\)"),
    case("mixed beams", lambda _: SampleSet((one(provenance=beams(6500.0)),
                                             one(1.0, provenance=beams(7000.0)))),
         "mu=1 and .*mu=0 .*beams.*7000.*6500", "do not use these|same"),
    case("mixed beams, joined", lambda _: one(provenance=beams(6500.0))
         + one(provenance=beams(7000.0)), "beams.*6500.*7000", "do not use these|same"),
    case("no sample at a point", lambda _: SampleSet((one(),)).at(mu=0.5), "mu=0.5", "there are",
         ParameterError),
    case("weighted events as data", lambda _: one(weights=np.array([1.0, 2, 3])).as_data(), "mu=0",
         "Toys"),
    case("written to an unknown kind", lambda out: one().to_file(out / "a.csv"), "a.csv",
         "choose", ConfigurationError),
    case("a feature that is called weight",
         lambda out: Sample(X, ("weight",)).to_file(out / "a.root"), "a.root.*'weight'",
         "rename"),
    case("provenance that is not JSON",
         lambda out: one(provenance={"x": object()}).to_file(out / "a.parquet"), "a.parquet",
         "use only"),
    case("a point of one word", lambda _: parse_point("c_HW"), "'c_HW'", "write it as",
         ParameterError),
    case("a parameter twice", lambda _: parse_point("a=1,a=2"), "'a' twice", "give|twice",
         ParameterError),
    case("particles of fewer events", lambda _: events([1, 1]), "shape", "give an array", LHEError),
    case("a negative number of particles", lambda _: events([4, -1]), "counts", "not negative",
         LHEError),
    case("particles without energy", lambda _: lhe.make_events(
        [1], {"px": [1.0]}, {"genWeight": [1.0], "LHE_processId": [1]}), "column", "add it",
         LHEError),
    case("events of words", lambda _: events([1, 2], px=np.array(["a", "b", "c"])), "'px'",
         "numbers", LHEError),
    case("identities of one half", lambda _: events([1, 2], pdgId=np.array([0.5, 1, 1])), "'pdgId'",
         "integer", LHEError),
]  # fmt: skip
