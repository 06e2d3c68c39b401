"""Provenance of results: versions, seeds, input files, configuration and steps."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from milinfer.exceptions import ConfigurationError
from milinfer.samples.sample import Sample
from milinfer.typing import PathLikeStr
from milinfer.utils.arguments import is_address
from milinfer.utils.files import file_hash
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    from iminuit.cost import Cost

__all__ = [
    "ExactLikelihood",
    "InputFile",
    "Preparation",
    "Provenance",
    "StepRun",
    "input_file",
    "sample_facts",
    "versions",
]

_PACKAGES = (
    "milinfer awkward coffea hist iminuit keras matplotlib mplhep numpy pyhf pylhe scipy "
    "tensorflow uproot vector"
)


class InputFile(NamedTuple):
    """Facts about an input file of an analysis.

    Parameters
    ----------
    role
        Purpose of its events.
    path
        Path as the user gave it.
    sha256, n_bytes
        SHA-256 of the content, and its size in bytes.
    n_events
        Number of events of the file that were used.
    content
        Process and point of the events; also their seed if milinfer generated them.
    """

    role: str
    path: str
    sha256: str
    n_bytes: int
    n_events: int
    content: str


class StepRun(NamedTuple):
    """A finished step of an analysis.

    Parameters
    ----------
    name
        Name of the step.
    state
        ``"run"`` if this run did the step, ``"cached"`` if an earlier run did it.
    seconds
        Time that the step took when it was done.
    done
        Text that describes what the step did.
    """

    name: str
    state: Literal["run", "cached"]
    seconds: float
    done: str = ""


@dataclass(frozen=True)
class Provenance:
    """Command, configuration, files, seeds and steps that led to a result.

    Parameters
    ----------
    command
        Command that ran the analysis.
    configuration
        Settings of the analysis, as values that can be written as JSON.
    inputs
        Files that were read.
    seeds
        All seeds, by purpose.
    steps
        Steps before the report, also those that an earlier run did.
    started
        Time at which this run started (UTC, ISO 8601).

    Examples
    --------
    >>> provenance = Provenance("milinfer demo", {"seed": 1}, seeds={"generation": 1})
    >>> provenance.to_dict()["seeds"]
    {'generation': 1}
    """

    command: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[InputFile, ...] = ()
    seeds: Mapping[str, int] = field(default_factory=dict)
    steps: tuple[StepRun, ...] = ()
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def to_dict(self) -> dict[str, Any]:
        """All facts by name.  Those under ``"run"`` differ from run to run."""
        return {
            "command": self.command,
            "configuration": dict(self.configuration),
            "inputs": [i._asdict() for i in self.inputs],
            "seeds": dict(self.seeds),
            **versions(),
            "run": {
                "started": self.started,
                "seconds": sum(s.seconds for s in self.steps if s.state == "run"),
                "steps": [s._asdict() for s in self.steps],
            },
        }


class ExactLikelihood(NamedTuple):
    """Exact likelihood of a dataset, which is computed only if it is needed.

    Parameters
    ----------
    make
        Function that makes the cost.
    depends
        Values on which the cost depends, by name.  If they change, the fit is done again.
    """

    make: Callable[[], Cost]
    depends: Mapping[str, Any]


@dataclass(frozen=True)
class Preparation:
    """Additions to the result of an analysis by the program that made its input files.

    Parameters
    ----------
    provenance
        Provenance of the input files.  In the result, its command, configuration, input files and
        start replace those of the analysis, and its seeds and steps are put before those of the
        analysis.
    describe
        Function that makes further entries of ``summary.json``.  Its argument is the result of
        :meth:`join`.
    exact
        Exact likelihood of the data with nuisance parameters.  It is fitted in addition to the
        learned likelihood.

    Examples
    --------
    >>> Preparation(Provenance("milinfer demo")).describe(Provenance())
    {}
    """

    provenance: Provenance
    describe: Callable[[Provenance], Mapping[str, Any]] = lambda _: {}
    exact: ExactLikelihood | None = None

    def join(self, analysis: Provenance) -> Provenance:
        """Provenance of the preparation and the analysis together.

        Examples
        --------
        >>> first = StepRun("generate", "run", 1.0)
        >>> second = StepRun("inference", "run", 2.0)
        >>> preparation = Preparation(Provenance("milinfer demo", steps=(first,)))
        >>> joined = preparation.join(Provenance("milinfer run", steps=(second,)))
        >>> joined.command, [step.name for step in joined.steps]
        ('milinfer demo', ['generate', 'inference'])
        """
        before = self.provenance
        return replace(
            before,
            seeds={**before.seeds, **analysis.seeds},
            steps=(*before.steps, *analysis.steps),
        )


def versions() -> dict[str, Any]:
    """Versions of Python and of the packages on which numbers depend, and the type of machine.

    Examples
    --------
    >>> sorted(versions())
    ['machine', 'python', 'versions']
    """
    from importlib.metadata import version

    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in _PACKAGES.split()},
    }


def input_file(
    role: str, path: PathLikeStr, sample: Sample, *, sha256: str | None = None, content: str = ""
) -> InputFile:
    """Describe an input file and the events that were read from it.

    Parameters
    ----------
    role
        Purpose of the events.
    path
        Path of the file.
    sample
        Events that were read from the file.
    sha256
        SHA-256 of the content of the file; default: it is computed.
    content
        Text that describes the events; default: process and point of the sample.

    Raises
    ------
    ConfigurationError
        If `path` is an address on a network.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.datasets import gaussian
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "a.parquet")
    ...     sample = gaussian.generate(5, 0.5, seed=1)
    ...     sample.to_file(path)
    ...     fact = input_file("data", path, sample)
    >>> fact.n_events, fact.content, len(fact.sha256)
    (5, 'gaussian at mu=0.5', 64)
    """
    if is_address(path):
        msg = (
            f"{path} is an address, but the report needs the SHA-256 of each file; copy the file "
            "here, and give its path"
        )
        raise ConfigurationError(msg)
    return InputFile(
        role=role,
        path=str(path),
        sha256=sha256 or file_hash(path),
        n_bytes=Path(path).stat().st_size,
        n_events=len(sample),
        content=content or sample.label,
    )


def sample_facts(role: str, samples: Iterable[Sample]) -> dict[str, Any]:
    """Facts about the samples of one role: processes, points, number of events and origin.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> facts = sample_facts("templates", gaussian.samples(5, [-0.1, 0.1], seed=1))
    >>> facts["n_events"], facts["points"], facts["source"]
    (10, ['mu=-0.1', 'mu=0.1'], 'milinfer.datasets.gaussian, seeds 1835504127, 1731038949')
    """
    members: Sequence[Sample] = tuple(samples)
    return {
        "role": role,
        "processes": sorted({s.process for s in members}),
        "points": [format_point(s.point) for s in members if s.point],
        "n_events": sum(len(s) for s in members),
        "source": _source([s.provenance for s in members]),
    }


def _source(provenances: Sequence[Mapping[str, Any]]) -> str:
    """Generator and seeds, or files; empty if the samples do not store their origin."""
    words = []
    generators = {str(k["generator"]) for k in provenances if "generator" in k}
    for name in sorted(generators):
        seeds = [str(k["seed"]) for k in provenances if k.get("generator") == name and "seed" in k]
        words.append(f"{name}, seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}")
    files = sorted({str(f) for k in provenances for f in k.get("files", ())})
    return "; ".join([*words, ", ".join(files)] if files else words)
