"""milinfer's features inside an existing coffea processor, in three lines.

python examples/coffea_processor.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from coffea import processor

import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.features.processor import EventSchema
from milinfer.io import events as event_files


class MyProcessor(processor.ProcessorABC):
    """A user's processor: own selection, own histograms, and milinfer's columns."""

    def process(self, events):
        selected = events[events.genWeight > 0]
        features = mil.feature_set("vbf_2l2j").with_columns(ht=lambda o: o.q0.pt + o.q1.pt)
        return {"features": features.from_lhe(selected).accumulate(selected.genWeight)}

    def postprocess(self, accumulator):
        return accumulator


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sm.root"
        event_files.write(path, *vbf_hww.generate(2_000, seed=1).to_events())
        run = processor.Runner(
            executor=processor.IterativeExecutor(status=False), schema=EventSchema
        )
        output = run({"sm": [str(path)]}, processor_instance=MyProcessor(), treename="Events")
    columns = output["features"]["columns"]
    print(f"{len(columns)} columns, {output['features']['n_events']} events")
    print(f"mean ht: {columns['ht'].value.mean():.1f} GeV")


if __name__ == "__main__":
    main()
