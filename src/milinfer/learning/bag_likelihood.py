"""Learn a likelihood ratio from simulated samples with a network that classifies bags of events.

You choose the head (what the outputs of the network mean as a function of θ), the labels (the
sample of an event, or its joint likelihood ratio) and the pooling (how a bag combines its events).
Training, surfaces Λ(θ), toys and calibration work in the same way for all choices.
:func:`single_models` returns the networks of a trained ensemble one by one, so that you can compare
them with the ensemble on the same toys.

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
    r"""Learn the log-likelihood ratio Λ(θ) in one or several parameters with neural networks.

    For a polynomial head, and for mean or sum pooling with a linear last layer, Λ of a dataset is a
    sum over its events, and does not depend on how the events are grouped into bags.  With other
    poolings, Λ is a sum over bags of consecutive events.

    With mean pooling, the outputs (logits) for a bag of :math:`N_B` events are :math:`W\bar\phi +
    b`, where :math:`\bar\phi` is the mean over the events of their summaries :math:`\phi(x_i)`,
    which the network computes from the features, and W, b are the weights of the last layer.  An
    event thus contributes :math:`\lambda_i(\theta_k) = [(W_k - W_0)\phi(x_i) + b_k - b_0] / N_B` to
    Λ at the training point :math:`\theta_k`.  The sum over events equals the sum over full bags in
    eq. 10 of Azakli and Stelzer ([AS]), and it also includes the :math:`N \bmod N_B` events that
    fill no bag.

    Parameters
    ----------
    head
        Meaning of the outputs of the network.  ``"multiclass"``: one class for each training point
        ([AS], §B.2.4).  ``"polynomial"``: a ratio of squared amplitudes, which is a polynomial in
        θ; see :class:`milinfer.learning.networks.heads.PolynomialHead`.  ``"binary"``: a separate
        network for each training point against the reference ([AS], §C.3).  ``"parametrised"``: θ
        is an input of the network ([AS], §B.2.5).
    labels
        Target of the training.  ``"hard"``: the sample from which a bag was drawn.  ``"joint"``:
        the ratio of the weights of an event at two points (ALICE: Stoye, Brehmer, Louppe, Pavez,
        Cranmer, arXiv:1808.00973).  Joint labels need events with weights at other points; one
        sample is then enough for all θ.
    score_weight
        Weight of the squared error of the joint score in the loss, for a polynomial head: ALICES
        with joint labels, CASCAL with hard labels (arXiv:1805.00020).
    points
        For joint labels: parameter points between which the ratio is learned, as dictionaries
        (``{"c_HW": 0.5}``) or as values in the order of the parameters.  Default: the points of the
        samples.
    bag_size
        Number of events in a training bag; default 1 for a polynomial head, else 10.
    ensemble
        Number of networks, each trained with another random seed.
    bootstrap
        Train each network of the ensemble on a Poisson bootstrap sample of the events.  The spread
        of the networks then contains the error due to the finite simulation; see
        :func:`milinfer.simulation_error`.  The samples must be in memory, and `ensemble` must be at
        least 4 (16 is better).
    average
        Quantity that is averaged over the networks of an ensemble, event by event: the
        ``"log-ratio"`` (an outlier of one network has little influence on this geometric mean of
        ratios), the ``"ratio"`` r (this mean keeps :math:`E_{\theta_0}[r] = 1`) or the
        ``"probability"`` of each class.
    order
        Order of the amplitude in the parameters, for a polynomial head.  Squared amplitudes, and
        with joint labels the event weights, are polynomials in θ of twice this degree.  Pass 2 if
        an operator enters both the production and the decay, else 1.
    squares
        Number of squared amplitudes in a polynomial head, in addition to the first amplitude, which
        interferes with the reference.  Count one square for each amplitude that the data cannot
        distinguish from others, for example because helicities or momenta are not measured.
        Default: the number of squares that can represent every positive polynomial.  This is 1 with
        one parameter, and the number of monomials of the amplitude with several parameters.  A
        network with fewer squares needs fewer training events.
    degree
        The logits of a multi-class head are polynomials in θ of this degree, so that Λ(θ) is smooth
        and needs no interpolation.  ``"auto"``: degree 4, or less if there are few points, but at
        least 2.  None: every class has an independent (free) logit, as in [AS], and Λ is
        interpolated between the classes as `interpolation_kind` says.
    interpolation_kind, window
        Interpolation of Λ between free logits: ``"polynomial"`` (of degree 4), ``"spline"`` or
        ``"parabola"``, and the window of the parabola; see
        :class:`~milinfer.likelihood.surface.Interpolation`.
    normalise
        Multiply the log-ratios by the factor that describes the held-out events best, and divide
        the ratios by their means over the training events, so that :math:`E_{\theta_0}[r] = 1` at
        every θ, as it must be for a ratio of densities.  Every event adds the error of the learned
        normalisation to Λ, so without this option the error of Λ grows in proportion to the number
        of events of a dataset.  All training events are used for the means
        (:func:`milinfer.samples.reweighting.bennett`).  A polynomial head is always normalised,
        whatever this option says; poolings that score whole bags are never normalised.  False: use
        the logits as they were trained, as in [AS].
    pooling
        Rule that combines the events of a bag: ``"mean"``, ``"sum"``, or another name in
        :data:`milinfer.learning.networks.pooling.POOLINGS`.
    loss
        A loss of :mod:`milinfer.learning.networks.losses`; default ``"bce"`` for binary and
        parametrised networks, else ``"cross-entropy"``.  ``"score"`` learns from the joint score
        alone (SALLY), at all points at once.  ``"ratio-mse"`` is the loss of ROLR; with
        `score_weight` it is the loss of RASCAL.
    symmetric
        The training set of a parametrised network contains bags with their own θ, and bags of the
        reference with every other θ.  True: it also contains bags of other points with the θ of the
        reference; see :class:`milinfer.learning.networks.training_bags.PairBags`.
    reference
        Parameter point θ0 at which Λ is zero: one number for all parameters, or one number for each
        parameter.  It must be a training point.
    validation_fraction
        Fraction of the events of each sample that is held out for early stopping.
    seed
        Random seed of splits, bags, initial weights and dropout.
    label
        Name of the method in tables and files, to distinguish models with the same head.
    network, training
        Architecture of the networks, and settings of the optimiser.  Default: the values of [AS].
        For a polynomial head the default is a cosine schedule and a network without batch
        normalisation.

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
        """Train the networks and return the trained likelihood; the object itself is not changed.

        Parameters
        ----------
        samples
            One sample at each parameter point, including the reference: in memory, or in Parquet
            files as :class:`~milinfer.samples.streaming.StreamedSamples`.
        validation
            Held-out samples in memory, for early stopping.  Default: a fraction
            `validation_fraction` of the events of `samples`.
        on_epoch
            Function that is called with an :class:`~milinfer.learning.tracking.EpochReport` after
            every epoch.  If a cluster trains the networks, the function is called when an ensemble
            member is finished, with the reports of all its epochs.
        client
            Client of a dask cluster, whose workers train the networks of the ensemble, one member
            for each task.  Start the workers with one thread each.  If the processors are of the
            same type, the trained weights are equal to the bit to the weights of a training without
            a cluster.  Other processors and GPUs round differently.
        tracker
            Object that logs the settings, and the losses and the learning rate of each network
            after every epoch (with a cluster, when a member is finished).  `fit` does not close the
            tracker.

        Raises
        ------
        ConfigurationError
            If the settings exclude each other, or `client` or `tracker` has a wrong type.
        ModelError
            If the samples do not fit the model, or the training fails.
        SampleError
            If ``labels="joint"`` is set and events have no weights at other points.
        TrackingError
            If the tracker fails.

        Warns
        -----
        ConvergenceWarning
            If the loss of a network was still falling in the last epochs.
        MilinferWarning
            If there are too few points to determine a polynomial head between the points.
        """
        # Who only evaluates a saved model needs nothing of the training.
        from milinfer.learning.fitting import fit

        untrained = LikelihoodSettings(**settings_by_name(self))
        settings, fitted = fit(untrained, samples, validation, on_epoch, client, tracker)
        return dataclasses.replace(self, **settings_by_name(settings), _fitted=fitted)

    @property
    def fitted(self) -> Fitted:
        """Result of the training: the networks, their normalisation and their history.

        Raises
        ------
        ModelError
            If the model is not trained; call :meth:`fit` and use the object that it returns.
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
        """Name of the only parameter; raises ParameterError if there are several."""
        return only(self.parameters)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the model needs."""
        return self.fitted.feature_names

    @property
    def digest(self) -> str:
        """Hash of the trained parameters; it does not change when the model is saved and loaded."""
        return weights_digest(self.fitted)

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the events of training and early stopping; toys must use other events."""
        return self.fitted.trained_on

    @property
    def additive(self) -> bool:
        """Whether Λ of a dataset is a sum over its events, so that bags do not matter."""
        return self.fitted.additive

    @property
    def interpolation(self) -> Interpolation | ChebyshevBox:
        """Parameter points at which Λ is computed, and the interpolation between them."""
        return self.fitted.interpolation

    def event_llr(self, sample: Sample) -> FloatArray:
        """Return the log-likelihood ratio of every event at the K points of :attr:`interpolation`.

        Parameters
        ----------
        sample
            Events with the features on which the model was trained.

        Returns
        -------
        ndarray
            Log-ratios, shape (n_events, K), float64; zero at the reference.

        Raises
        ------
        ModelError
            If the pooling scores whole bags, so that there is no ratio of single events.
        """
        ratios = list(member_log_ratios(self, self.fitted, sample))
        return average_log_ratio(ratios, self.average)

    def member_surfaces(self, data: Sample) -> tuple[Surface | BoxSurface, ...]:
        """Return the surface Λ(θ) of a dataset from each network of the ensemble separately."""
        return tuple(
            self.interpolation.surface(data.weights @ ratios)
            for ratios in member_log_ratios(self, self.fitted, data)
        )

    def uncertainty(self, data: Sample) -> FloatArray:
        """Return the standard error of Λ, computed from the spread of the ensemble's networks.

        The error includes the differences between the trainings.  It does not include errors that
        are the same for all networks, such as the error due to the finite simulation.  To obtain
        that error, train with ``bootstrap=True`` and use :func:`milinfer.simulation_error`.

        Returns
        -------
        ndarray
            Standard errors at the K points of :attr:`interpolation`, shape (K,).

        Raises
        ------
        ModelError
            If the ensemble has one member only.
        """
        if self.ensemble < 2:
            msg = "the spread needs two networks or more; train with ensemble=2 or more"
            raise ModelError(msg)
        values = np.stack([s.values for s in self.member_surfaces(data)])
        error: FloatArray = values.std(axis=0, ddof=1) / np.sqrt(self.ensemble)
        return error

    @property
    def reduction(self) -> Literal["sum", "max"]:
        """How the summaries of the events of a bag are combined: ``"sum"`` or ``"max"``."""
        return self.fitted.members[0][0].reduction

    def event_summary(self, sample: Sample) -> Float32Array:
        """Return summaries of events, shape (n_events, S), for poolings that score whole bags."""
        return event_summary(self.fitted, sample)

    def bag_llr(self, reduced: FloatArray, counts: IntArray) -> FloatArray:
        """Compute log-ratios of bags (shape (n_bags, K)) from summaries (shape (n_bags, S))."""
        return bag_llr(self, self.fitted, reduced, counts)

    def log_polynomials(self, data: Sample) -> LogPolynomials | None:
        """Return Λ of a dataset without interpolation (polynomial head), or None (other heads)."""
        return log_polynomials(self, self.fitted, data)

    def surface(self, data: Sample) -> Surface | BoxSurface:
        """Return the surface Λ(θ) of a dataset: the shape term, without the number of events."""
        return dataset_surface(self, data)

    def cost(
        self, data: Sample, *, rate: Rate | None = None, terms: Terms = "all"
    ) -> LikelihoodCost:
        """Return the cost −2 ln L of a dataset for iminuit.

        Parameters
        ----------
        data
            Events of the dataset.
        rate
            Expected number of events ν(θ), including all backgrounds.  With `rate`, the cost also
            contains the Poisson term of the number of events.  Without `rate`, it contains the
            shape term only.
        terms
            ``"linear"``: keep only the interference with the reference, and drop the terms with
            squared coefficients (:func:`milinfer.likelihood.linear_terms.linear_cost`).  ``"all"``:
            keep all terms.
        """
        require_terms(terms)
        if terms == "linear":
            return linear_cost(self, data, rate=rate)
        return dataset_cost(self, data, reference=self.reference, rate=rate)

    def save(self, path: PathLikeStr) -> None:
        """Save the model to a directory; see :func:`milinfer.learning.model_files.save_model`."""
        save_model(self, self.fitted, path)

    def export_onnx(
        self, path: PathLikeStr, target: Literal["onnxruntime", "roofit"] = "onnxruntime"
    ) -> None:
        """Write a network that computes the log-ratios of events to an ONNX file.

        Parameters
        ----------
        path
            File to write; an existing file is replaced.
        target
            ``"onnxruntime"``: the network computes :meth:`event_llr` for any number of events; see
            :func:`milinfer.learning.onnx.export_onnx`.  ``"roofit"``: the network computes ln r of
            one event at any θ, for ``RooONNXFunc`` of ROOT; see
            :func:`milinfer.learning.onnx_roofit.export_for_roofit`.

        Raises
        ------
        ConfigurationError
            If the package onnx is not installed, or the target is unknown.
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
        """Load a model from a directory; see :func:`milinfer.learning.model_files.load_model`."""
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
    """Return each network of a trained ensemble as an ensemble with one member.

    Parameters
    ----------
    model
        Trained likelihood.

    Raises
    ------
    ModelError
        If the model is not trained.

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
    """Log the settings and all epochs of a trained model.

    Parameters
    ----------
    tracker
        Tracker that receives the settings and the epochs.
    model
        Trained likelihood.

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
    """Return a function that computes the log-ratio of each event between two points around θ0.

    The two points lie at a distance of `half_width` below and above θ0.  If the distance is small,
    the log-ratio is proportional to the learned score, which is the optimal observable for small
    deviations from θ0; see :func:`milinfer.likelihood.observables.log_ratio_observable`.

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
