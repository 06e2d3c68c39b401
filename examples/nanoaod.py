"""A trained likelihood in a processor of NanoAOD, with systematic variations of jets and MET.

python examples/nanoaod.py [NANOAOD.root] [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import awkward as ak
import hist
import numpy as np
from coffea import processor
from coffea.nanoevents import NanoAODSchema

import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.learning.networks.configs import TrainingConfig

DEFAULT = Path(__file__).with_name("data") / "ttbar_nanoaod.root"
NanoAODSchema.warn_missing_crossrefs = False  # of collections that are not used here


def trained(folder: Path, n_events: int) -> Path:
    """Save a small likelihood of what a detector sees; yours has all of your simulation."""
    features = mil.feature_set("vbf_2l2j_reco")
    samples = [
        mil.Sample.from_table(
            features.from_lhe(vbf_hww.generate(n_events, {"c_HW": c}, seed=k).to_events()[0]),
            point={"c_HW": c},
        )
        for k, c in enumerate((-1.0, -0.5, 0.0, 0.5, 1.0))
    ]
    model = mil.BagLikelihood(head="polynomial", seed=1, training=TrainingConfig(epochs=5))
    model.fit(mil.SampleSet(tuple(samples))).save(folder / "model")
    return folder / "model"


class Scores(processor.ProcessorABC):
    """A user's processor: own objects, own selection, own variations."""

    def __init__(self, model: Path) -> None:
        self.features = mil.feature_set("vbf_2l2j_reco")
        self.columns = mil.ModelColumns(model, points=[{"c_HW": 0.5}], score_at=0.0)

    def process(self, events):
        leptons = ak.concatenate([events.Electron, events.Muon], axis=1)
        leptons = leptons[(leptons.pt > 10) & (abs(leptons.eta) < 2.4)]
        jets = events.Jet[abs(events.Jet.eta) < 4.7]
        met = {
            "nominal": events.PuppiMET,
            "jes_up": ak.zip({"pt": events.PuppiMET.ptJESUp, "phi": events.PuppiMET.phiJESUp}),
            "jes_down": ak.zip(
                {"pt": events.PuppiMET.ptJESDown, "phi": events.PuppiMET.phiJESDown}
            ),
        }
        # Yours come from the correction of the jets; here they are 3 % in all jets.
        scale = {"nominal": 1.0, "jes_up": 1.03, "jes_down": 0.97}
        varied = {name: ak.with_field(jets, jets.pt * s, "pt") for name, s in scale.items()}
        # Events that pass in any variation, so that all of them have the same ones.
        passed = [ak.sum(v.pt > 30, axis=1) >= 2 for v in varied.values()]
        chosen = np.logical_or.reduce([ak.to_numpy(p) for p in passed])
        tables = {
            name: self.features(
                leptons[chosen], jet[chosen], met[name][chosen], on_missing="reject"
            )
            for name, jet in varied.items()
        }
        nominal = tables.pop("nominal")
        weights = nominal.weights(events.genWeight[chosen])
        columns = self.columns(nominal) | self.columns.shifts(nominal, tables)
        score = hist.Hist.new.Reg(12, -6, 6, name="score", label="score at c_HW = 0").Weight()
        score.fill(columns["score:c_HW=0"], weight=weights)
        return {
            "events": len(events),
            "two jets": int(chosen.sum()),
            "rejected": dict(nominal.rejected),
            "columns": {name: processor.column_accumulator(c) for name, c in columns.items()},
            "score": score,
        }

    def postprocess(self, accumulator):
        return accumulator


def main(path: Path, n_events: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = processor.Runner(
            executor=processor.IterativeExecutor(status=False), schema=NanoAODSchema, chunksize=100
        )
        found = run(
            {"ttbar": [str(path)]},
            processor_instance=Scores(trained(Path(folder), n_events)),
            treename="Events",
        )
    kept = len(found["columns"]["score:c_HW=0"].value)
    print(f"{found['events']} events, {found['two jets']} with two jets, {kept} with two leptons")
    print(f"rejected: {found['rejected']}")
    for name, column in found["columns"].items():
        print(f"{name:24s} mean {column.value.mean():+.4f}")
    print(f"sum of weights of the score: {found['score'].sum(flow=True).value:.5g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path, nargs="?", default=DEFAULT)
    parser.add_argument("--quick", action="store_true", help="few training events, for tests")
    options = parser.parse_args()
    main(options.path, 400 if options.quick else 4_000)
