"""A small analysis with an exact model in the place of a network, for the tests of the report."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.models import dataset_surface, model_tag
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.workflow.analysis import analyse
from milinfer.workflow.analysis_result import AnalysisResult
from milinfer.workflow.analysis_settings import Analysis
from milinfer.workflow.provenance import InputFile, Provenance, StepRun
from models import GaussianMean


def without_links(page: str) -> str:
    """The text of a report as it is read, without the links of its terms."""
    return re.sub(r'<a class="term"[^>]*>(.*?)</a>', r"\1", page)


@dataclass(frozen=True)
class Trained(GaussianMean):
    """What the report asks of a trained network, of the exact ratio of a Gaussian mean."""

    seed: int = 7
    ensemble: int = 1
    bootstrap: bool = False
    events_in_bag: int = 1
    reference: float = 0.0

    @property
    def fitted(self):
        epochs = np.arange(1, 21)
        loss = (1.6 + 0.4 / epochs).tolist()
        return SimpleNamespace(
            history=[{"loss": loss, "val_loss": [v + 0.01 for v in loss]}],
            grid=self.interpolation.grid,
            n_events={"a": 1000},
            effective_events=1000.0,
        )

    def cost(self, data):
        surface = dataset_surface(self, data)
        return LikelihoodCost(surface, self.parameter, n_events=len(data), tag=model_tag(self))


def small_result(
    parameter: str = "mu", process: str = "signal", title: str | None = None, label: str = "exact"
) -> AnalysisResult:
    """Result of 200 events and 300 toys at each truth; about three seconds."""
    result = analyse(small_analysis(parameter, process, title, label))
    return replace(
        result,
        provenance=Provenance(
            f"milinfer run {process}.toml",
            {"analysis": {"seed": 11, "title": title}, "samples": [{"path": f"{process}.root"}]},
            (InputFile("training", f"{process}.root", "0" * 64, 123456, 8000, process),),
            {"splits of samples": 11},
            (StepRun(f"features-{process}", "cached", 1.5, "8000 events"),),
            "2026-01-01T00:00:00+00:00",
        ),
    )


def small_analysis(
    parameter: str = "mu", process: str = "signal", title: str | None = None, label: str = "exact"
) -> Analysis:
    """What goes into it."""

    def samples(values, n, seed):
        rng = np.random.default_rng(seed)
        return SampleSet(
            tuple(
                Sample(
                    np.column_stack([rng.normal(v, 1, n), rng.exponential(40, n)]),
                    ("x", "m_ll"),
                    point={parameter: v},
                    process=process,
                    cross_section=1.0,
                    provenance={"generator": "tests.reports", "seed": seed},
                )
                for v in values
            )
        )

    model = Trained(scale=0.8, shift=0.03, parameter=parameter, name=label)
    truths = (-0.3, 0.0, 0.3)
    return Analysis(
        models=(model,),
        data=samples([0.1], 200, 3)[0].as_data(),
        templates=samples([-1.0, -0.5, 0.0, 0.5, 1.0], 8000, 4),
        calibration=samples(truths, 40_000, 5),
        evaluation=samples(truths, 40_000, 6),
        truth=0.0,
        belt_at=truths,
        observable="x",
        bins=8,
        degree=4,
        n_toys=300,
        seed=11,
        title=title,
        drawn_features=("x", "m_ll"),
    )
