"""A model whose log-ratios have been computed in advance.

Toys from one set of events are generated many times: for ensembles and for their members, for the
calibration and for the evaluation.  With the log-ratios in a table, a network is evaluated only
once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from milinfer.exceptions import ModelError, SampleError
from milinfer.likelihood.models import AnyModel, EventModel, as_model, model_tag, trained_on
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray

__all__ = ["Tabulated"]


@dataclass(frozen=True, eq=False)
class Tabulated(EventModel):
    """A model whose log-ratios for the events of certain samples have been computed in advance.

    Create it with :meth:`of` from a model, or with :meth:`mean` from several tabulated models.

    Parameters
    ----------
    name, parameters, interpolation
        As for any model.
    samples
        Samples with tabulated log-ratios; only these objects can be evaluated.
    tables
        Log-ratios of the events of each sample, shape (n_events, K) each.
    events_in_bag, feature_names, digest
        As in :class:`~milinfer.likelihood.models.ModelTag`.
    trained_on
        Fingerprints of the training events of the model.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> pool = gaussian.samples(100, [0.0, 0.5], seed=1)
    >>> table = Tabulated.of(gaussian.MeanModel(), pool, "mean, tabulated")
    >>> table.event_llr(pool[1]).shape == gaussian.MeanModel().event_llr(pool[1]).shape
    True
    """

    name: str
    parameters: tuple[str, ...]
    interpolation: Interpolation | ChebyshevBox
    samples: tuple[Sample, ...]
    tables: tuple[FloatArray, ...]
    events_in_bag: int = 1
    feature_names: tuple[str, ...] = ()
    digest: str = ""
    trained_on: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: AnyModel, samples: Sequence[Sample], name: str | None = None) -> Tabulated:
        """Evaluate a model on some samples, and return the table as a model.

        Parameters
        ----------
        model
            Model whose Λ is a sum over events.
        samples
            Samples to evaluate, such as a :class:`~milinfer.samples.sample_set.SampleSet`.
        name
            Name of the result; default: the name of the model.

        Raises
        ------
        ModelError
            If Λ of the model is not a sum over events.
        """
        if not as_model(model).additive:
            msg = (
                f"Λ of {model.name} is not a sum over events, so it cannot be tabulated; use the "
                "model itself"
            )
            raise ModelError(msg)
        tag = model_tag(model)
        return cls(
            name=name or model.name,
            parameters=model.parameters,
            interpolation=model.interpolation,
            samples=tuple(samples),
            tables=tuple(np.asarray(model.event_llr(s), dtype=np.float64) for s in samples),
            events_in_bag=tag.events_in_bag,
            feature_names=tag.feature_names,
            digest=tag.digest,
            trained_on=trained_on(model),
        )

    @classmethod
    def mean(cls, models: Sequence[Tabulated], name: str) -> Tabulated:
        """Return the mean of the log-ratios of several tabulated models of the same events.

        Parameters
        ----------
        models
            Tabulated models of the same samples.
        name
            Name of the result.

        Raises
        ------
        ModelError
            If there are no models, or they differ in parameters, events, or points at which Λ is
            known.

        Examples
        --------
        >>> from milinfer.datasets import gaussian
        >>> pool = gaussian.samples(100, [0.0], seed=1)
        >>> one, two = (Tabulated.of(gaussian.MeanModel(scale=s), pool) for s in (0.5, 1.5))
        >>> both = Tabulated.mean([one, two], "both").event_llr(pool[0])
        >>> bool(np.allclose(both, gaussian.MeanModel().event_llr(pool[0])))
        True
        """
        if not models:
            msg = "the list of models is empty; give at least one model"
            raise ModelError(msg)
        first = models[0]
        for other in models[1:]:
            same = (
                other.parameters == first.parameters
                and [id(s) for s in other.samples] == [id(s) for s in first.samples]
                and np.array_equal(other.interpolation.grid, first.interpolation.grid)
                and repr(other.interpolation) == repr(first.interpolation)
            )
            if not same:
                msg = (
                    f"{first.name} and {other.name} have different parameters, events or points of "
                    "Λ; average only models that differ only in their training"
                )
                raise ModelError(msg)
        digests = "".join(m.digest for m in models)
        return replace(
            first,
            name=name,
            tables=tuple(np.mean(t, axis=0) for t in zip(*(m.tables for m in models), strict=True)),
            digest=hashlib.blake2b(digests.encode(), digest_size=8).hexdigest(),
            trained_on=tuple(dict.fromkeys(s for m in models for s in m.trained_on)),
        )

    def event_llr(self, sample: Sample) -> FloatArray:
        """Return the log-ratios of the events of one of the samples, shape (n_events, K).

        Raises
        ------
        SampleError
            If `sample` is not one of the tabulated samples.
        """
        for tabulated, table in zip(self.samples, self.tables, strict=True):
            if tabulated is sample:
                return table
        msg = (
            f"{self.name} was tabulated for {len(self.samples)} samples, and {sample.label} is not "
            "one of them; use the model itself, or tabulate it for this sample too"
        )
        raise SampleError(msg)
