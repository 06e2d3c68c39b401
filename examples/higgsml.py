"""The FAIR Universe HiggsML challenge: train, fit pseudo-experiments with six nuisances, score.

python examples/higgsml.py [FAIR_Universe_HiggsML_data.parquet] [--events 50000] [--mu 0.5 1 2]
    [--experiments 100] [--train START:STOP] [--test START:STOP] [--models FOLDER]
    [--classifier network] [--scale-error 0.01] [--quick]

Without a file it makes events in the format of the challenge, which are no simulation.  The last
line on standard output is one line of JSON with the score and all intervals.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import milinfer as mil
from milinfer.datasets import higgsml
from milinfer.exceptions import FitError
from milinfer.io.event_range import EventRange
from milinfer.io.flat_files import ParquetTable
from milinfer.learning.background_ratio import default_classifier
from milinfer.learning.boosted_trees import BoostedSettings
from milinfer.likelihood import SignalStrength
from milinfer.utils.confidence_levels import CL68

SIGNAL, *BACKGROUNDS = higgsml.PROCESSES
STRENGTH = SignalStrength()
# Of the features, those that a small training can use.
FEW_FEATURES = ("DER_mass_vis", "PRI_met", "PRI_jet_all_pt")
TEST_SHARE = 0.3  # of the rows, from the first: those that the organisers test with


@dataclass
class Analysis:
    """What is learned: a classifier of processes, responses of all of them, expected events."""

    settings: dict[str, Any]
    classifier: mil.BagLikelihood | mil.BoostedLikelihood
    responses: dict[str, mil.SystematicResponse]

    @classmethod
    def train(
        cls, events: higgsml.HiggsEvents, settings: dict[str, Any], *, quick: bool
    ) -> Analysis:
        """Learn ln p_b/p_s of all backgrounds, and ln S of each process."""
        variations = higgsml.process_variations(
            events,
            seed=2,
            scale_error=settings["scale_error"],
            features=settings["features"],
        )
        nominal = {process: v.nominal[0] for process, v in variations.items()}
        # One classifier of all processes: far from the signal, where ratios to it are large and
        # poorly known, it still knows those of the backgrounds to each other.
        labelled = mil.SampleSet(
            tuple(
                replace(sample, point={"process": float(k)}, process="any")
                for k, sample in enumerate(nominal.values())
            )
        )
        options: dict[str, Any] = {"classifier": settings["classifier"]}
        if settings["classifier"] == "network":
            classifier = replace(default_classifier(3), head="multiclass", degree=None)
        else:
            trees = BoostedSettings(n_estimators=100, learning_rate=0.3) if quick else None
            classifier = mil.BoostedLikelihood(settings=trees, seed=3)
            options |= {"trees": trees, "degree": 1} if quick else {}
        trained = replace(classifier, reference=0.0).fit(labelled)
        responses = {}
        for process, of_process in variations.items():
            responses[process] = mil.SystematicResponse(seed=4, **options).fit(of_process)
            print(responses[process], file=sys.stderr)
        expected = {process: float(s.weights.sum()) for process, s in nominal.items()}
        return cls({**settings, "expected": expected}, trained, responses)

    def save(self, folder: Path) -> None:
        """Write all models to a new folder."""
        folder.mkdir(parents=True)
        self.classifier.save(folder / "classifier")
        for process, response in self.responses.items():
            response.save(folder / f"response_{process}")
        (folder / "settings.json").write_text(json.dumps(self.settings), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Analysis:
        """Read what :meth:`save` has written."""
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        network = settings["classifier"] == "network"
        kind = mil.BagLikelihood if network else mil.BoostedLikelihood
        return cls(
            settings,
            kind.load(folder / "classifier"),
            {
                process: mil.SystematicResponse.load(folder / f"response_{process}")
                for process in higgsml.PROCESSES
            },
        )

    def cost(self, data: mil.Sample) -> mil.likelihood.SystematicCost:
        """−2 ln L of a dataset as a function of μ and the six nuisance parameters."""
        errors, expected = higgsml.NORMALISATION_ERRORS, self.settings["expected"]
        of_all = errors["bkg_scale"]
        ratios = dict(zip(higgsml.PROCESSES, self.classifier.event_llr(data).T, strict=True))
        return mil.systematic_cost(
            STRENGTH,
            data,
            rate=STRENGTH.rate(expected[SIGNAL], luminosity=higgsml.LUMINOSITY),
            responses={"signal" if p == SIGNAL else p: r for p, r in self.responses.items()},
            backgrounds={
                p: (lambda _data, log_ratio=ratios[p]: log_ratio, expected[p]) for p in BACKGROUNDS
            },
            norm_constraints={p: errors[f"{p}_scale"] for p in ("ttbar", "diboson")},
            uncertainties=[
                mil.NormalisationUncertainty(
                    "bkg_scale", dict.fromkeys(BACKGROUNDS, (1 - of_all, 1 + of_all))
                )
            ],
        )


def interval(cost: mil.likelihood.SystematicCost) -> tuple[float, float, float]:
    """Estimate of μ, and the ends of its 68.27 % interval, which may be those of the range of μ."""
    m = mil.minuit(cost)
    m.fixed["ztautau_norm"] = True  # bkg_scale is all that is uncertain of it
    m.tol = 1e-4
    m.migrad()
    if not m.valid:
        m.strategy = 2
        m.migrad()
    if not m.valid:
        msg = f"the fit has no valid minimum:\n{m.fmin}"
        raise FitError(msg)
    m.minos("mu", cl=CL68)
    errors, (low, high) = m.merrors["mu"], m.limits["mu"]
    estimate = float(m.values["mu"])
    for what, found, at_end in (
        ("lower", errors.lower_valid, errors.at_lower_limit),
        ("upper", errors.upper_valid, errors.at_upper_limit),
    ):
        if not (found or at_end):
            msg = f"MINOS found no {what} end of the interval of μ:\n{errors}"
            raise FitError(msg)
    return (
        estimate,
        low if errors.at_lower_limit else estimate + float(errors.lower),
        high if errors.at_upper_limit else estimate + float(errors.upper),
    )


def made_up(folder: Path, n_events: int) -> Path:
    """Write a file in the format of the challenge; its first events are those to test with."""
    path = folder / "events.parquet"
    higgsml.write_events(path, higgsml.generate(n_events, seed=1))
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, nargs="?", help="Parquet file of the challenge")
    parser.add_argument("--events", type=int, help="made-up events of each process, without a file")
    parser.add_argument("--mu", type=float, nargs="+", help="true values of the signal strength")
    parser.add_argument("--experiments", type=int, help="pseudo-experiments for each of them")
    parser.add_argument("--train", help="rows START:STOP; default: all after those of --test")
    parser.add_argument("--test", help="rows START:STOP; default: the first 30 per cent")
    parser.add_argument("--models", type=Path, help="folder to save models in, or to load")
    parser.add_argument("--classifier", choices=["network", "trees"], help="default: network")
    parser.add_argument("--scale-error", type=float, default=higgsml.SCALE_ERROR)
    parser.add_argument("--seed", type=int, default=5, help="of the pseudo-experiments")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, for tests")
    options = parser.parse_args(arguments)
    mus = options.mu or ([1.0] if options.quick else [0.5, 1.0, 2.0])
    n_experiments = options.experiments or (30 if options.quick else 100)
    with tempfile.TemporaryDirectory() as folder:
        n_made = options.events or (12_000 if options.quick else 50_000)
        path = options.path or made_up(Path(folder), n_made)
        n_rows = ParquetTable(path).n_events
        n_test = round(TEST_SHARE * n_rows)
        test_rows = EventRange.parse(options.test or f"0:{n_test}")
        train_rows = EventRange.parse(options.train or f"{test_rows.stop}:{n_rows}")
        if test_rows.overlaps(train_rows):
            parser.error(f"rows {test_rows} to test with overlap {train_rows} to train with")
        test = higgsml.read_events(path, events=test_rows)
        if options.models and options.models.exists():
            print(f"models of {options.models}", file=sys.stderr)
            analysis = Analysis.load(options.models)
        else:
            events = higgsml.read_events(path, events=train_rows)
            settings = {
                "features": FEW_FEATURES if options.quick else higgsml.FEATURES,
                "scale_error": options.scale_error,
                "classifier": options.classifier or ("trees" if options.quick else "network"),
            }
            analysis = Analysis.train(events, settings, quick=options.quick)
            if options.models:
                analysis.save(options.models)
    scale_error, features = (analysis.settings[k] for k in ("scale_error", "features"))
    rng = np.random.default_rng(options.seed)
    rows = []
    for mu in mus:
        for _ in range(n_experiments):
            nuisances = higgsml.draw_nuisances(rng, scale_error=scale_error)
            data = higgsml.pseudo_experiment(test, mu, nuisances, rng=rng, features=features)
            estimate, low, high = interval(analysis.cost(data))
            rows.append({"mu": mu, "estimate": estimate, "low": low, "high": high})
            print({k: round(v, 3) for k, v in rows[-1].items()}, file=sys.stderr)
    columns = (np.array([row[name] for row in rows]) for name in ("mu", "low", "high"))
    score = higgsml.quantile_score(*columns)
    print(f"coverage {score.coverage:.1%} ± {score.coverage_error:.1%} of {len(rows)} intervals")
    print(f"mean width {score.width:.3f}, score {score.score:.3f}")
    by_mu = {
        f"{mu:g}": higgsml.quantile_score(
            *([row[name] for row in rows if row["mu"] == mu] for name in ("mu", "low", "high"))
        )._asdict()
        for mu in mus
    }
    print(json.dumps({"score": score._asdict(), "by_mu": by_mu, "intervals": rows}))


if __name__ == "__main__":
    main()
