"""`BagLikelihood`: a likelihood ratio learned from simulated samples by a network over bags.

The head (what the outputs mean as a function of θ), the labels (which sample an event comes from,
or the joint likelihood ratio that it carries) and the pooling can be chosen; training, surfaces,
toys and calibration are the same for all.  :func:`single_models` gives the members of a trained
ensemble one by one, to compare them with the ensemble on the same toys.

Importing this module does not import Keras; training and loading do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from milinfer.exceptions import ConfigurationError, ModelError
from milinfer.learning.fitted import (
    Fitted,
    average_log_ratio,
    bag_llr,
    event_summary,
    log_polynomials,
    member_log_ratios,
    weights_digest,
)
from milinfer.learning.model_files import load_model, pack_model, save_model, unpack_model
from milinfer.learning.settings import LikelihoodSettings, settings_by_name
from milinfer.learning.tracking import log_history
from milinfer.likelihood.cost import LikelihoodCost, dataset_cost
from milinfer.likelihood.linear_terms import Terms, linear_cost, require_terms
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.models import BagModel, dataset_surface
from milinfer.likelihood.observables import log_ratio_observable
from milinfer.likelihood.surface import Interpolation, Surface
from milinfer.likelihood.surface_box import BoxSurface, ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import Float32Array, FloatArray, IntArray, PathLikeStr
from milinfer.utils.display import html_facts, shortened
from milinfer.utils.points import format_point, only

if TYPE_CHECKING:
    from distributed import Client

    from milinfer.learning.tracking import EpochReport, Tracker
    from milinfer.likelihood.rate import Rate
    from milinfer.samples.streaming import StreamedSamples

__all__ = ["BagLikelihood", "classifier_output", "log_training", "single_models"]


@dataclass(frozen=True, eq=False)
class BagLikelihood(LikelihoodSettings, BagModel):
    r"""Learned log-likelihood ratio in one parameter or several.

    With mean pooling and a linear last layer the logits of a bag of :math:`N_B` events are
    :math:`W\bar\phi + b`.  So Λ of a dataset is a sum over events of
    :math:`\lambda_i(\theta_k) = [(W_k - W_0)\phi(x_i) + b_k - b_0] / N_B`, which equals the sum
    over bags of [AS] (eq. 10) for any grouping into full bags, and needs no special case for
    the events left over by :math:`N \bmod N_B`.  A polynomial head is a sum over events by
    construction.  Other poolings score bags of consecutive events.

    Parameters
    ----------
    head
        ``"multiclass"``: a class for each training point ([AS], §B.2.4).  ``"polynomial"``: the
        ratio of squared amplitudes as a polynomial in θ, see
        :class:`milinfer.learning.networks.heads.PolynomialHead`.  ``"binary"``: an independent
        network for each point against the reference (§C.3).  ``"parametrised"``: θ is an input of
        the network (§B.2.5).
    labels
        ``"hard"``: the sample that a bag comes from.  ``"joint"``: the joint likelihood ratio of
        events that have weights at other points (ALICE: Stoye, Brehmer, Louppe, Pavez, Cranmer,
        arXiv:1808.00973); one sample is then enough for all θ.
    score_weight
        Weight of the squared error of the joint score, for a polynomial head: ALICES with joint
        labels, CASCAL with hard ones (arXiv:1805.00020).
    points
        With joint labels: parameter points to learn the ratio between, as dictionaries (``{"c_HW":
        0.5}``) or as values in the order of the parameters; default: the points of the samples.
    bag_size
        Events in a training bag; default 1 for a polynomial head, else 10.
    ensemble
        Number of networks, trained from different seeds.
    bootstrap
        Train the members on Poisson bootstrap samples of the events, so that their spread contains
        the error from the finite simulation; see :func:`milinfer.simulation_error`.  The samples
        must be in memory, and `ensemble` 4 or more, better 16.
    average
        Quantity of each event that an ensemble averages: its ``"log-ratio"`` (a geometric
        mean: outliers of one member have little influence), ``"ratio"`` (keeps
        :math:`E_{\theta_0}[r] = 1`) or class ``"probability"``.
    order
        Order of the amplitude in the parameters (polynomial head), and half the degree of the
        weights (joint labels): 2 if production and decay contain an operator each, else 1.
    squares
        Number of squared amplitudes in a polynomial head, in addition to the first one, which
        interferes with the reference: one for each amplitude that the data cannot distinguish
        (helicities, hidden momenta).  Default: as many as any positive polynomial needs, which is 1
        in one parameter, and the number of monomials of the amplitude in several.  Fewer squares
        can be learned from fewer events.
    degree
        The logits of a multi-class head are polynomials of this degree in θ (``"auto"``: 4, or
        less for few points, but at least 2), so that Λ(θ) is smooth by construction and needs
        no interpolation.  None gives every class a logit of its own, as in the paper; Λ is then
        interpolated between the classes by `interpolation_kind`.
    interpolation_kind, window
        ``"polynomial"`` (of degree 4), ``"spline"`` or ``"parabola"``, for free logits; see
        :class:`~milinfer.likelihood.surface.Interpolation`.
    normalise
        Scale the log-ratios by the factor that describes the held-out events best, and divide the
        ratios by their means over the training events, so that E_θ0[r] = 1 at every θ, as for
        densities.  Without this, the errors of the learned constants would grow with the number of
        events of a dataset.  The means are taken over all training events
        (:func:`milinfer.samples.reweighting.bennett`).  A polynomial head is always normalised;
        poolings that score bags as a whole never are.  False: logits as trained, as in [AS].
    pooling
        ``"mean"``, ``"sum"``, or one of the others of :mod:`milinfer.learning.networks.layers`.
    loss
        One of :mod:`milinfer.learning.networks.losses`; default ``"bce"`` for binary and
        parametrised networks, else ``"cross-entropy"``.  ``"score"`` learns from the joint score
        alone (SALLY), at all points at once; ``"ratio-mse"`` is the regression of ROLR, and of
        RASCAL with a `score_weight`.
    symmetric
        Training pairs of a parametrised network; see
        :class:`milinfer.learning.networks.training_bags.PairBags`.
    reference
        Parameter point θ0, one value for all parameters or one for each; must be a training point.
    validation_fraction
        Fraction of the events of each sample held out for early stopping.
    seed
        Seed of splits, bags, initial weights and dropout.
    label
        Name of the method in tables and files, for models with the same head.
    network, training
        Architecture and optimiser; default: those of the paper, and for a polynomial head a
        network without batch normalisation, trained with a cosine schedule.

    Examples
    --------
    >>> from milinfer.learning.bag_likelihood import BagLikelihood
    >>> BagLikelihood(bag_size=20, seed=1)
    BagLikelihood(multiclass, bag_size=20, ensemble=1, not trained)
    >>> BagLikelihood(head="polynomial", labels="joint").events_in_bag
    1
    """

    _fitted: Fitted | None = field(default=None, repr=False)

    def fit(
        self,
        samples: SampleSet | StreamedSamples,
        validation: SampleSet | None = None,
        *,
        on_epoch: Callable[[EpochReport], None] | None = None,
        client: Client | None = None,
        tracker: Tracker | None = None,
    ) -> BagLikelihood:
        """Train, and return the trained likelihood (``self`` is not changed).

        Parameters
        ----------
        samples
            One sample for each point, the reference among them; in memory or, as
            :class:`~milinfer.samples.streaming.StreamedSamples`, in Parquet files.
        validation
            Held-out samples for early stopping, in memory; default: a split of `samples` by event.
        on_epoch
            Called with an :class:`~milinfer.learning.tracking.EpochReport` after every epoch; for
            members that a cluster trains, after each member with the reports of all its epochs.
        client
            Client of a dask cluster, whose workers train the members of the ensemble, one task
            each; give workers one thread.  On equal machines the weights are the same to the bit as
            without a cluster; other processors, and GPUs, round differently.
        tracker
            Receives the settings, and losses and learning rate of every epoch of every network:
            after each epoch, or from a cluster after each member.  It is not closed.

        Raises
        ------
        ConfigurationError
            If the settings exclude each other, or `client` or `tracker` is not one.
        ModelError
            If the samples do not fit the model, or training fails.
        SampleError
            If joint labels are requested for events that have none.
        TrackingError
            If the tracker fails.

        Warns
        -----
        ConvergenceWarning
            If a loss was still falling in the last epochs.
        MilinferWarning
            If the points do not determine a polynomial head between them.
        """
        # Who only evaluates a saved model needs nothing of the training.
        from milinfer.learning.fitting import fit

        untrained = LikelihoodSettings(**settings_by_name(self))
        settings, fitted = fit(untrained, samples, validation, on_epoch, client, tracker)
        return dataclasses.replace(self, **settings_by_name(settings), _fitted=fitted)

    @property
    def fitted(self) -> Fitted:
        """Result of the training: networks, history and more.

        Raises
        ------
        ModelError
            Before :meth:`fit`.
        """
        if self._fitted is None:
            msg = (
                "this BagLikelihood is not trained; call .fit(samples) and use the object it "
                "returns"
            )
            raise ModelError(msg)
        return self._fitted

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.fitted.parameters

    @property
    def parameter(self) -> str:
        """Name of the parameter; a ParameterError if there are several."""
        return only(self.parameters)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the model expects."""
        return self.fitted.feature_names

    @property
    def digest(self) -> str:
        """Hash of the trained parameters, the same after saving and loading."""
        return weights_digest(self.fitted)

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the events of training and early stopping; toys need other events."""
        return self.fitted.trained_on

    @property
    def additive(self) -> bool:
        """Whether Λ is a sum over events, for any grouping into bags."""
        return self.fitted.additive

    @property
    def interpolation(self) -> Interpolation | ChebyshevBox:
        """Parameter points of the surface, and the interpolation between them."""
        return self.fitted.interpolation

    def event_llr(self, sample: Sample) -> FloatArray:
        """Log-likelihood ratio of every event at the points of the surface.

        Parameters
        ----------
        sample
            Events with the features that the model was trained on.

        Returns
        -------
        ndarray
            Shape (n_events, K), float64, zero at the reference.

        Raises
        ------
        ModelError
            If the pooling scores bags as a whole.
        """
        ratios = list(member_log_ratios(self, self.fitted, sample))
        return average_log_ratio(ratios, self.average)

    def member_surfaces(self, data: Sample) -> tuple[Surface | BoxSurface, ...]:
        """Surface of a dataset from each member of the ensemble alone."""
        return tuple(
            self.interpolation.surface(data.weights @ ratios)
            for ratios in member_log_ratios(self, self.fitted, data)
        )

    def uncertainty(self, data: Sample) -> FloatArray:
        """Standard error of Λ at the points of the surface, from the spread of the members.

        It includes the differences between trainings, but not errors that all members have in
        common, such as the error from the finite simulation.  For that error, train with
        ``bootstrap=True`` and use :func:`milinfer.simulation_error`.

        Returns
        -------
        ndarray
            Shape (K,).

        Raises
        ------
        ModelError
            If there is one member only.
        """
        if self.ensemble < 2:
            msg = "a single network has no spread; train with ensemble=2 or more"
            raise ModelError(msg)
        values = np.stack([s.values for s in self.member_surfaces(data)])
        error: FloatArray = values.std(axis=0, ddof=1) / np.sqrt(self.ensemble)
        return error

    @property
    def reduction(self) -> Literal["sum", "max"]:
        """How the summaries of the events of a bag are combined."""
        return self.fitted.members[0][0].reduction

    def event_summary(self, sample: Sample) -> Float32Array:
        """Summaries of events for a pooling that scores bags as a whole, (n_events, S)."""
        return event_summary(self.fitted, sample)

    def bag_llr(self, reduced: FloatArray, counts: IntArray) -> FloatArray:
        """Log-likelihood ratio of bags from reduced summaries (n_bags, S), shape (n_bags, K)."""
        return bag_llr(self, self.fitted, reduced, counts)

    def log_polynomials(self, data: Sample) -> LogPolynomials | None:
        """Λ of a dataset without interpolation, for a polynomial head; None for others."""
        return log_polynomials(self, self.fitted, data)

    def surface(self, data: Sample) -> Surface | BoxSurface:
        """Surface Λ(θ) of a dataset (shape term)."""
        return dataset_surface(self, data)

    def cost(
        self, data: Sample, *, rate: Rate | None = None, terms: Terms = "all"
    ) -> LikelihoodCost:
        """Cost −2 ln L of a dataset for iminuit.

        Parameters
        ----------
        data
            The dataset.
        rate
            Expected yield ν(θ) of all events, backgrounds included; adds the rate term.  Without
            it, only the shape counts.
        terms
            ``"linear"``: the interference alone, without squared coefficients
            (:func:`milinfer.likelihood.linear_terms.linear_cost`).
        """
        require_terms(terms)
        if terms == "linear":
            return linear_cost(self, data, rate=rate)
        return dataset_cost(self, data, reference=self.reference, rate=rate)

    def save(self, path: PathLikeStr) -> None:
        """Save to a directory; see :func:`milinfer.learning.model_files.save_model`."""
        save_model(self, self.fitted, path)

    def export_onnx(
        self, path: PathLikeStr, target: Literal["onnxruntime", "roofit"] = "onnxruntime"
    ) -> None:
        """Write the log-ratios of events as ONNX.

        Parameters
        ----------
        path
            File to write; replaced if it is there.
        target
            ``"onnxruntime"``: :meth:`event_llr`, for any number of events at the points of the
            surface; see :func:`milinfer.learning.onnx.export_onnx`.  ``"roofit"``: ln r of one
            event at any θ, for ``RooONNXFunc`` of ROOT; see
            :func:`milinfer.learning.onnx_roofit.export_for_roofit`.

        Raises
        ------
        ConfigurationError
            If the package onnx is not installed, or the target is another.
        ModelError
            If the model is not trained, or cannot be exported for this target.
        """
        if target not in ("onnxruntime", "roofit"):
            msg = f"target={target!r} must be 'onnxruntime' or 'roofit'"
            raise ConfigurationError(msg)
        if target == "onnxruntime":
            from milinfer.learning.onnx import export_onnx

            export_onnx(self, self.fitted, path)
        else:
            from milinfer.learning.onnx_roofit import export_for_roofit

            export_for_roofit(self, self.fitted, path)

    @staticmethod
    def load(path: PathLikeStr) -> BagLikelihood:
        """Load from a directory; see :func:`milinfer.learning.model_files.load_model`."""
        settings, fitted = load_model(path)
        return BagLikelihood(**settings_by_name(settings), _fitted=fitted)

    def __getstate__(self) -> dict[str, Any]:
        # Pickled as the files of a saved model: pickles of Keras are neither complete nor stable
        # from one version to the next.
        files = None if self._fitted is None else pack_model(self, self._fitted)
        return {**self.__dict__, "_fitted": files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state["_fitted"]
        fitted = None if files is None else unpack_model(files)[1]
        self.__dict__.update({**state, "_fitted": fitted})

    def __repr__(self) -> str:
        state = (
            "not trained"
            if self._fitted is None
            else f"{len(self._fitted.points)} points in {', '.join(self._fitted.parameters)}"
        )
        return (
            f"BagLikelihood({self.name}, bag_size={self.events_in_bag}, "
            f"ensemble={self.ensemble}, {state})"
        )

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {
            "head": f"{self.head}, {self.labels} labels",
            "bags": f"{self.events_in_bag} events, {self.pooling} pooling",
            "ensemble": f"{self.ensemble}, average of the {self.average}"
            if self.ensemble > 1
            else "",
            "reference": self.reference,
        }
        if self._fitted is None:
            return html_facts(f"BagLikelihood {self.name}, not trained", facts)
        fitted = self.fitted
        points = [
            format_point(dict(zip(fitted.parameters, p, strict=True)))
            for p in fitted.points.tolist()
        ]
        histories = fitted.history
        best = [min(h["val_loss"]) for h in histories]
        facts |= {
            "points": f"{len(points)}: {shortened(points)}",
            "features": f"{len(self.feature_names)}: {shortened(self.feature_names)}",
            "events": f"{sum(fitted.n_events.values())}, "
            f"equivalent to {fitted.effective_events:.0f} unweighted",
            "network": f"{'-'.join(map(str, fitted.network.hidden))}, {fitted.network.activation}",
            "epochs": shortened([str(len(h["loss"])) for h in histories]),
            "lowest validation loss": shortened([f"{v:.5f}" for v in best]),
        }
        return html_facts(f"BagLikelihood {self.name}", facts)


def single_models(model: BagLikelihood) -> tuple[BagLikelihood, ...]:
    """Return each member of a trained ensemble as an ensemble of one.

    Parameters
    ----------
    model
        A trained likelihood.

    Raises
    ------
    ModelError
        If it is not trained.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.learning.bag_likelihood import BagLikelihood
    >>> from milinfer.learning.networks.configs import TrainingConfig
    >>> samples = gaussian.samples(100, [-0.5, 0.0, 0.5], seed=1)
    >>> model = BagLikelihood(ensemble=2, bag_size=5, training=TrainingConfig(epochs=1))
    >>> single_models(model.fit(samples))[1]
    BagLikelihood(multiclass, bag_size=5, ensemble=1, 3 points in mu)
    """
    fitted = model.fitted
    networks = len(fitted.history) // len(fitted.members)
    return tuple(
        dataclasses.replace(
            model,
            ensemble=1,
            _fitted=dataclasses.replace(
                fitted,
                members=(member,),
                z=(z,),
                log_z=(log_z,),
                scale=(scale,),
                history=fitted.history[k * networks : (k + 1) * networks],
            ),
        )
        for k, (member, z, log_z, scale) in enumerate(
            zip(fitted.members, fitted.z, fitted.log_z, fitted.scale, strict=True)
        )
    )


def log_training(tracker: Tracker, model: BagLikelihood) -> None:
    """Log the settings and all epochs of a model that is trained already.

    Raises
    ------
    ModelError
        If the model is not trained.
    TrackingError
        If the tracker fails.
    """
    log_history(tracker, model, model.fitted.history)


def classifier_output(
    model: BagLikelihood, half_width: float = 0.3
) -> Callable[[Sample], FloatArray]:
    """Per-event classifier output: the log-ratio between two points on both sides of θ0.

    For small distances this is the learned score, the optimal observable for small deviations; see
    :func:`milinfer.likelihood.observables.log_ratio_observable`.

    Parameters
    ----------
    model
        Trained likelihood.
    half_width
        Distance of the two points from the reference.
    """
    centre = np.asarray(model.reference, dtype=np.float64)
    low, high = centre - half_width, centre + half_width
    return log_ratio_observable(model, low, high, name="classifier_output")
