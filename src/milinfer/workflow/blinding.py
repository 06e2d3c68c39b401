"""Blind analyses: until the data are opened, pseudo-data are fitted instead of them.

While an analysis is blind, its data are only read, checked and counted.  Every fit, figure and
table shows pseudo-data: simulated events at the true value at which the methods are compared.
Calibrations and coverages do not depend on the data, so they are final.  When the data are opened,
a record is written with the time, the reason, and hashes of all settings and files that do not
depend on the data.  The next run fits the data and reports which steps have changed since then.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from milinfer.exceptions import ConfigurationError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import Toys
from milinfer.typing import Point
from milinfer.utils.files import file_hash, parse_json, write_whole
from milinfer.utils.json_fields import text_field
from milinfer.utils.points import only
from milinfer.workflow.steps import Step, Steps, content_hash

__all__ = ["BLIND", "Blinding", "Unblinding", "frozen_hashes", "pseudo_data", "write_unblinding"]

BLIND = "blind"
"""Value of ``data.blind`` in the dependencies of the inference step of a blind run."""

_RECORD = "unblinding.json"
_KEPT = "blind_result"
# Settings of the inference that opening the data changes.
_NOT_FROZEN = ("data.blind",)
# Other seeds are the seed of the analysis, and that plus 1 and 2.
_SEED = 77


@dataclass(frozen=True)
class Unblinding:
    """Record that the data of a blind analysis were opened.

    Parameters
    ----------
    time
        Time when the data were opened, in ISO format and UTC.
    reason
        Reason that the user gave.
    milinfer
        Version of milinfer that wrote the record.
    frozen
        For each step, by name, a hash of its settings and files at the time when the data were
        opened.
    result
        SHA-256 of the ``summary.json`` of the blind run.
    """

    time: str
    reason: str
    milinfer: str
    frozen: Mapping[str, str]
    result: str

    @classmethod
    def load(cls, folder: Path) -> Unblinding | None:
        """Read the record in a folder of results; None if the data were not opened.

        Raises
        ------
        ConfigurationError
            If the file is damaged.
        """
        path = folder / _RECORD
        if not path.exists():
            return None
        try:
            fields = parse_json(path.read_text(encoding="utf-8"))
            if not isinstance(fields, dict) or not isinstance(fields.get("frozen"), dict):
                msg = "it has no hashes of the frozen results"
                raise ValueError(msg)
            texts = {
                name: text_field(name, fields.get(name))
                for name in ("time", "reason", "milinfer", "result")
            }
            frozen = {k: text_field(f"frozen.{k}", v) for k, v in fields["frozen"].items()}
        except (OSError, ValueError) as error:
            msg = (
                f"{path} is not a valid record of an unblinding ({error}); restore the file, or "
                "move "
                "the folder away and start the blind analysis again"
            )
            raise ConfigurationError(msg) from error
        return cls(**texts, frozen=frozen)

    @property
    def content(self) -> str:
        """Hash of the record.  If it changes, the inference is done again."""
        return content_hash(asdict(self))

    def changed_since(self, now: Mapping[str, str]) -> tuple[str, ...]:
        """Names of the steps that have changed since the data were opened.

        Parameters
        ----------
        now
            Present hashes of the steps, from :func:`frozen_hashes`.
        """
        names = self.frozen.keys() | now.keys()
        return tuple(sorted(n for n in names if self.frozen.get(n) != now.get(n)))


@dataclass(frozen=True)
class Blinding:
    """State of a blind analysis, for the summary and the report: whether its data are open.

    Parameters
    ----------
    n_events
        Number of events of the pseudo-data while the analysis is blind, and of the data when they
        are open.
    unblinding
        Record that the data were opened; None while the analysis is blind.
    changed_since
        Names of steps that have changed since the data were opened.
    """

    n_events: int
    unblinding: Unblinding | None = None
    changed_since: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """One or two sentences for the head of the report.

        Examples
        --------
        >>> Blinding(1000).sentence
        'Blind: the 1000 events fitted here are pseudo-data, not the data.'
        """
        if self.unblinding is None:
            return f"Blind: the {self.n_events} events fitted here are pseudo-data, not the data."
        opened = f"Unblinded at {self.unblinding.time} ({self.unblinding.reason})."
        if not self.changed_since:
            return f"{opened} No step has changed since."
        return f"{opened} Changed since then: {', '.join(self.changed_since)}."

    def to_dict(self) -> dict[str, Any]:
        """Content of ``blinding`` in ``summary.json``."""
        if self.unblinding is None:
            return {"state": "blind", "pseudo_data_events": self.n_events}
        return {
            "state": "unblinded",
            **asdict(self.unblinding),
            "changed_since": list(self.changed_since),
        }


def pseudo_data(
    evaluate: SampleSet,
    truth: float | Point,
    n_events: int,
    *,
    weight_degree: int | None,
    seed: int,
) -> Sample:
    """Draw the pseudo-data that replace the data.

    Parameters
    ----------
    evaluate
        Simulated events that were used neither for the training nor for the calibration.
    truth
        Parameter point of the pseudo-data, or its value if there is only one parameter.
    n_events
        Number of events.
    weight_degree
        Degree of the event weights as polynomials in the parameters.  None: `truth` must be the
        point of one of the samples.
    seed
        Seed of the analysis.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(1000, [0.0, 0.5], seed=1)
    >>> len(pseudo_data(samples, 0.5, 100, weight_degree=None, seed=1))
    100
    """
    pool = EventPool(evaluate, weight_degree)
    toys = Toys(pool, n_events, seed=seed + _SEED)
    point = truth if isinstance(truth, Mapping) else {only(evaluate.parameters): truth}
    return toys.dataset(point).as_data()


def frozen_hashes(steps: Steps, planned: Sequence[Step], inference: Step) -> dict[str, str]:
    """Compute a hash of the settings and files of each step, without those that depend on the data.

    Parameters
    ----------
    steps
        Folder of the steps.
    planned
        Steps before the inference that do not read the data.  All of them must be done.
    inference
        The inference step.  Its settings are in the hash, its files are not.
    """
    hashes = {}
    for step in planned:
        record = steps.record(step)
        hashes[step.name] = content_hash({"depends": record["depends"], "files": record["files"]})
    settings = {k: v for k, v in inference.depends.items() if k not in _NOT_FROZEN}
    return hashes | {inference.name: content_hash(settings)}


def write_unblinding(folder: Path, reason: str, frozen: Mapping[str, str]) -> Unblinding:
    """Write the record that opens the data, and keep a copy of the blind result.

    Parameters
    ----------
    folder
        Folder of the results of a blind run.
    reason
        Why the data are opened, for example who approved it.
    frozen
        Result of :func:`frozen_hashes`.

    Raises
    ------
    ConfigurationError
        If the reason is empty, or the data were opened before.
    """
    from milinfer.version import __version__

    if not reason.strip():
        msg = "give a reason for opening the data, such as reason='approved by the collaboration'"
        raise ConfigurationError(msg)
    before = Unblinding.load(folder)
    if before is not None:
        msg = (
            f"the data of {folder} were opened before, at {before.time} ({before.reason}), and can "
            "be opened only once; use milinfer run to see the result"
        )
        raise ConfigurationError(msg)
    kept = folder / _KEPT
    kept.mkdir(exist_ok=True)
    for name in ("summary.json", "report.html"):
        shutil.copyfile(folder / name, kept / name)
    record = Unblinding(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=reason.strip(),
        milinfer=__version__,
        frozen=dict(frozen),
        result=file_hash(folder / "summary.json"),
    )
    write_whole(folder / _RECORD, json.dumps(asdict(record), indent=1) + "\n")
    return record
