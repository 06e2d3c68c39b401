"""From LHE files to a calibrated interval and its pyhf counterpart, in one script.

python examples/from_lhe.py [--quick]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.io import lhe


def write_files(folder: Path, n_events: int) -> dict[float, Path]:
    """Stand-ins for a user's own files."""
    files = {}
    for k, c in enumerate(np.round(np.linspace(-1, 1, 9), 2)):
        files[float(c)] = folder / f"{k}.lhe.gz"
        lhe.write(
            files[float(c)],
            *vbf_hww.generate(n_events, {"c_HW": c}, seed=k).to_events(vbf_hww.DEFAULT_WEIGHTS),
        )
    return files


def main(*, quick: bool) -> None:
    # The quick size is for tests of the package.
    n_events, n_toys = (1_000, 100) if quick else (6_000, 500)
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), n_events)
        samples = mil.SampleSet.from_files(files, parameter="c_HW", features="vbf_2l2j")
        # Events of their own: what trains or calibrates cannot be the data.
        own = Path(folder) / "data.lhe.gz"
        lhe.write(own, *vbf_hww.generate(600, {"c_HW": 0.0}, seed=99).to_events())
        data = mil.Sample.from_file(own, features="vbf_2l2j").as_data()
    train, calib = samples.split([0.5, 0.5], seed=1)  # by event, before any bag

    # The files carry weights at other points (<rwgt>): learn from what they know.
    model = mil.BagLikelihood(head="polynomial", labels="joint", seed=1).fit(train)
    cost = model.cost(data)

    toys = mil.Toys(calib, n_events=len(data), seed=2)
    truths = (-0.25, 0.0, 0.25)
    calibration = mil.calibrate([toys.run([model], t, n_toys)[model.name] for t in truths])
    interval = mil.profile_interval(calibration(cost), "c_HW")
    print(f"learned: {interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]")

    templates = mil.Templates.from_samples(samples, "d_phi_qq", bins=10, degree=2)
    interval = mil.profile_interval(templates.cost(data), "c_HW")
    print(f"pyhf:    {interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]")


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
