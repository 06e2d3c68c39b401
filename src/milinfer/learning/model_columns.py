"""Compute the log-ratios and scores of a trained likelihood in a coffea processor.

A processor is sent to many workers and called for many chunks of events.  :class:`ModelColumns` is
pickled as the path of a saved model, or with its files if ``embed=True``, and each worker loads the
model once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ModelError, ParameterError
from milinfer.features.feature_set import FeatureTable
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.model_files import unpack_model
from milinfer.learning.settings import settings_by_name
from milinfer.likelihood.observables import log_ratio_observable, score_observable
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray, PathLikeStr, Point
from milinfer.utils.files import file_hash
from milinfer.utils.points import format_point

__all__ = ["ModelColumns"]


class ModelColumns:
    """Compute ln p(x|θ)/p(x|θ0) of a saved likelihood at chosen points, and the score, as columns.

    Parameters
    ----------
    path
        Directory of a model that :meth:`BagLikelihood.save <milinfer.BagLikelihood.save>` has
        written.
    points
        Parameter points θ of the log-ratio columns, one column for each.
    score_at
        Value of the parameter at which the score (the derivative of the log-ratio) is computed.
        The score is the optimal observable near this value.  None: no score column.
    embed
        Whether the files of the model are sent together with the processor.  If not, the workers
        read the files from `path`, and must be able to access this path.

    Raises
    ------
    ModelError
        If `path` contains no model.
    ParameterError
        If a point has other parameters than the model, or neither `points` nor `score_at` is given.

    Notes
    -----
    Workers keep the models that they have loaded, identified by the checksum of ``model.json``.  Do
    not replace the model at `path` while processors use it: they stop with an error.

    Examples
    --------
    >>> ModelColumns("no/model", score_at=0.0)
    Traceback (most recent call last):
    ...
    milinfer.exceptions.ModelError: no/model is not the folder of a model: ...
    """

    def __init__(
        self,
        path: PathLikeStr,
        *,
        points: Sequence[Point | float] = (),
        score_at: float | None = None,
        embed: bool = False,
    ) -> None:
        self.path = Path(path).absolute()
        content = self.path / "model.json"
        if not content.is_file():
            msg = (
                f"{path} is not the folder of a model: it has no model.json; correct the path, or "
                "save a model there"
            )
            raise ModelError(msg)
        self.digest = file_hash(content)
        self.score_at = score_at
        self._files: tuple[tuple[str, bytes], ...] = ()
        points = tuple(points)
        if not points and score_at is None:
            msg = "give points= or score_at=; without them there are no columns to compute"
            raise ParameterError(msg)
        model = self.model
        self.points = tuple(
            dict(p) if isinstance(p, Mapping) else {model.parameter: float(p)} for p in points
        )
        for point in self.points:
            if set(point) != set(model.parameters):
                msg = (
                    f"points= has {format_point(point)}, but the model has the parameters "
                    f"{model.parameters}; give one value for each"
                )
                raise ParameterError(msg)
            at = [float(point[name]) for name in model.parameters]
            log_ratio_observable(model, model.reference, at)  # refuses what is out of range
        if score_at is not None:
            score_observable(model, score_at)
        if embed:
            self._files = tuple(
                (file.name, file.read_bytes()) for file in sorted(self.path.iterdir())
            )

    @property
    def model(self) -> BagLikelihood:
        """The likelihood, which each process loads once.

        Raises
        ------
        ModelError
            If the model at `path` has changed since this object was created.
        """
        return _load(self.path, self.digest, self._files)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        llr = tuple(f"llr:{format_point(p)}" for p in self.points)
        if self.score_at is None:
            return llr
        return (*llr, f"score:{format_point({self.model.parameter: self.score_at})}")

    def __call__(self, table: FeatureTable | Sample) -> dict[str, FloatArray]:
        """Compute the columns for the events of a chunk.

        Parameters
        ----------
        table
            Features of the events; they must include the features of the training.

        Returns
        -------
        dict
            A float64 array of shape (n_events,) for each name of :attr:`names`.

        Raises
        ------
        SampleError
            If a feature is missing.
        """
        sample = Sample.from_table(table) if isinstance(table, FeatureTable) else table
        model, columns = self.model, {}
        if self.points:
            values = model.interpolation.values_at(model.event_llr(sample), self._at(self.points))
            columns = dict(zip(self.names, values.T, strict=False))
        if self.score_at is not None:
            columns[self.names[-1]] = score_observable(model, self.score_at)(sample)
        return columns

    def shifts(
        self,
        nominal: FeatureTable | Sample,
        variations: Mapping[str, FeatureTable | Sample],
    ) -> dict[str, FloatArray]:
        """Compute how much the columns of each event change if its features are varied.

        Parameters
        ----------
        nominal
            Features of the nominal events.
        variations
            Features of the same events after each systematic variation, such as ``{"jes_up": …}``.

        Returns
        -------
        dict
            Varied minus nominal value for each ``COLUMN:VARIATION``, arrays of shape (n_events,).

        Raises
        ------
        ModelError
            If a variation does not have the same events. (If variations move events across a cut,
            select all events that pass the cut nominally or in any variation.)
        """
        nominal_columns = self(nominal)
        shifts: dict[str, FloatArray] = {}
        for name, table in variations.items():
            if not _same_events(nominal, table):
                msg = (
                    f"variation {name!r} has {len(table)} events, which are not the {len(nominal)} "
                    "nominal events; select events that pass in any variation, then vary them"
                )
                raise ModelError(msg)
            shifts |= {f"{c}:{name}": v - nominal_columns[c] for c, v in self(table).items()}
        return shifts

    def _at(self, points: Sequence[Point]) -> ArrayLike:
        names = self.model.parameters
        rows = [[float(p[n]) for n in names] for p in points]
        return np.array(rows)[:, 0] if len(names) == 1 else np.array(rows)

    def __repr__(self) -> str:
        return f"ModelColumns({str(self.path)!r}, {', '.join(self.names)})"


def _same_events(a: FeatureTable | Sample, b: FeatureTable | Sample) -> bool:
    if isinstance(a, FeatureTable) and isinstance(b, FeatureTable):
        return bool(np.array_equal(a.kept, b.kept))
    return len(a) == len(b)


@lru_cache(maxsize=16)
def _load(path: Path, digest: str, files: tuple[tuple[str, bytes], ...]) -> BagLikelihood:
    """Load a model once in each process."""
    if files:
        settings, fitted = unpack_model(dict(files))
        return BagLikelihood(**settings_by_name(settings), _fitted=fitted)
    content = path / "model.json"
    if not content.is_file() or file_hash(content) != digest:
        msg = f"{path} has changed since the columns were defined; create ModelColumns again"
        raise ModelError(msg)
    return BagLikelihood.load(path)
