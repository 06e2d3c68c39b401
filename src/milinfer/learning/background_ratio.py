"""`BackgroundRatio`: the density ratio of a background to the signal, learned by a classifier.

The classifier is a :class:`~milinfer.learning.bag_likelihood.BagLikelihood` or a
:class:`~milinfer.learning.boosted_trees.BoostedLikelihood` trained on two samples.  Held-out events
give the scale of its outputs, and other held-out events check them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.special import expit

from milinfer.exceptions import ConfigurationError, MilinferWarning, ModelError
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.boosted_trees import BoostedLikelihood
from milinfer.learning.model_files import (
    complete_content,
    new_model_folder,
    read_content,
    write_content,
)
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.samples.argument_checks import require_sample
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.utils.json_fields import number_field, seed_field, whole_field

__all__ = ["BackgroundRatio", "RatioFit", "default_classifier"]

Classifier: TypeAlias = BagLikelihood | BoostedLikelihood

_FORMAT = "background-1"
_PARAMETER = "background"  # 0 for signal, 1 for background: classes are points of a parameter
_KINDS: dict[str, type[BagLikelihood] | type[BoostedLikelihood]] = {
    "network": BagLikelihood,
    "trees": BoostedLikelihood,
}
# A mean of the ratio that is this many errors from one is not a fluctuation.
_SIGMAS = 5.0


class RatioFit(NamedTuple):
    r"""Scale of a learned ratio, and its checks, from held-out events.

    Parameters
    ----------
    slope, slope_error
        ln b is the slope times the classifier's log-ratio, plus the shift; near one.
    shift, shift_error
        Correction of the normalisation; near zero.
    mean_signal, mean_signal_error
        :math:`E_{p_s}[b]` over events that were used for no fit; should be one.
    mean_background, mean_background_error
        :math:`E_{p_b}[1/b]` over such events; should be one.
    n_held_out
        Number of events of signal and of background in these means.
    """

    slope: float
    slope_error: float
    shift: float
    shift_error: float
    mean_signal: float
    mean_signal_error: float
    mean_background: float
    mean_background_error: float
    n_held_out: tuple[int, int]

    @property
    def pulls(self) -> tuple[float, float]:
        """Deviations of the two means from one, in their errors."""
        return (
            (self.mean_signal - 1) / self.mean_signal_error,
            (self.mean_background - 1) / self.mean_background_error,
        )


@dataclass(frozen=True, eq=False)
class BackgroundRatio:
    r"""Learned :math:`\ln p_b(x)/p_s(x|\theta_0)` of one background.

    A classifier of single events learns it from events of both; weights may be negative for a
    network.  Regularisation and early stopping leave its log-ratio too small or too large by a
    common factor: a logistic regression on held-out events gives that factor, and with it the
    normalisation (its intercept is the acceptance ratio of Bennett, J. Comput. Phys. 22, 245, 1976,
    for two densities).  Other held-out events check that :math:`E_{p_s}[b] = E_{p_b}[1/b] = 1`.
    These means reveal a wrong scale, but not a ratio that is right on average and coarse in detail.
    If the background extends beyond the signal, b has a heavy tail and its mean a large error.

    Each of several backgrounds needs its own ratio: ``{name: BackgroundRatio().fit(signal, sample)
    …}``.

    Parameters
    ----------
    classifier
        Untrained :class:`~milinfer.learning.bag_likelihood.BagLikelihood` with ``head="binary"``
        and ``bag_size=1``, or :class:`~milinfer.learning.boosted_trees.BoostedLikelihood`; default:
        a network.
    held_out
        Share of the events of each process that the classifier is not trained on; half of them
        stop its training and give the scale, the others check it.
    seed
        Seed of the split and of the default classifier.

    Raises
    ------
    ConfigurationError
        If the classifier scores bags, or the share is not between 0 and 1.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> classifier = BoostedLikelihood()
    >>> ratio = BackgroundRatio(classifier, seed=1).fit(
    ...     gaussian.generate(2000, 0.0, seed=1), gaussian.generate(2000, 1.0, seed=2))
    >>> ratio.log_ratio(gaussian.generate(3, 0.0, seed=3)).shape
    (3,)
    >>> bool(abs(ratio.fitted.pulls[0]) < 4)
    True
    """

    classifier: Classifier | None = None
    held_out: float = 0.2
    seed: int = 0
    _fitted: RatioFit | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            msg = f"held_out={self.held_out:g} must be between 0 and 1"
            raise ConfigurationError(msg)
        model = self.classifier
        if isinstance(model, BagLikelihood) and (model.head, model.events_in_bag) != ("binary", 1):
            msg = (
                f"a background needs a ratio of single events, not head={model.head!r} with "
                f"bag_size={model.events_in_bag}; use BagLikelihood(head='binary', bag_size=1)"
            )
            raise ConfigurationError(msg)
        if model is not None and model.reference != 0:
            msg = (
                f"reference={model.reference} of the classifier must be 0, the label of the signal"
            )
            raise ConfigurationError(msg)

    def fit(self, signal: Sample, background: Sample) -> BackgroundRatio:
        """Train, scale and check; returns the trained ratio (``self`` is not changed).

        Parameters
        ----------
        signal
            Events at θ0.
        background
            Events of the background, with the same features.

        Raises
        ------
        SampleError
            If the features differ.
        ModelError
            If the training fails, or the weights do not allow it.

        Warns
        -----
        MilinferWarning
            If a mean of the ratio over held-out events is five errors or more from one.
        """
        require_sample(signal, "BackgroundRatio.fit()", data=False)
        require_sample(background, "BackgroundRatio.fit()", data=False)
        pair = SampleSet(
            tuple(
                Sample(
                    features=s.features,
                    feature_names=s.feature_names,
                    weights=s.weights,
                    point={_PARAMETER: k},
                    process=s.process,
                )
                for k, s in ((0.0, signal), (1.0, background))
            )
        )
        half = self.held_out / 2
        train, scale, check = pair.split([1 - 2 * half, half, half], seed=self.seed)
        model = (self.classifier or default_classifier(self.seed)).fit(train, scale)
        slope, shift, covariance = _regression(
            [_classifier_log_ratio(model, s) for s in scale], scale
        )
        errors = np.sqrt(np.diag(covariance))
        means = [
            _mean_and_error(
                np.exp(sign * (slope * _classifier_log_ratio(model, s) + shift)), s.weights
            )
            for sign, s in zip((1, -1), check, strict=True)
        ]
        (mean_signal, signal_error), (mean_background, background_error) = means
        fitted = RatioFit(
            slope=slope,
            slope_error=float(errors[0]),
            shift=shift,
            shift_error=float(errors[1]),
            mean_signal=mean_signal,
            mean_signal_error=signal_error,
            mean_background=mean_background,
            mean_background_error=background_error,
            n_held_out=(len(check[0]), len(check[1])),
        )
        for what, mean, error, pull in (
            ("E[b] over signal", mean_signal, signal_error, fitted.pulls[0]),
            ("E[1/b] over background", mean_background, background_error, fitted.pulls[1]),
        ):
            if not abs(pull) < _SIGMAS:
                msg = (
                    f"{background.label}: {what} is {mean:.4g} ± {error:.2g}, not 1; train longer "
                    "or on more events, or cut away the region where one of the processes has no "
                    "events"
                )
                warnings.warn(msg, MilinferWarning, stacklevel=2)
        return dataclasses.replace(self, classifier=model, _fitted=fitted)

    @property
    def fitted(self) -> RatioFit:
        """Scale and checks.

        Raises
        ------
        ModelError
            Before :meth:`fit`.
        """
        if self._fitted is None:
            msg = (
                "this BackgroundRatio is not trained; call .fit(signal, background) and use the "
                "object it returns"
            )
            raise ModelError(msg)
        return self._fitted

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the classifier expects."""
        return self._trained_classifier.feature_names

    @property
    def digest(self) -> str:
        """Hash of the trained parameters, the same after saving and loading."""
        text = repr((self._trained_classifier.digest, self.fitted.slope, self.fitted.shift))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the events that the classifier was trained on."""
        return self._trained_classifier.trained_on

    @property
    def _trained_classifier(self) -> Classifier:
        self.fitted  # noqa: B018  # raises if there is none
        assert self.classifier is not None
        return self.classifier

    def log_ratio(self, sample: Sample) -> FloatArray:
        """Values of ln p_b(x)/p_s(x|θ0), shape (n_events,)."""
        return (
            self.fitted.slope * _classifier_log_ratio(self._trained_classifier, sample)
            + self.fitted.shift
        )

    def save(self, path: PathLikeStr) -> None:
        """Save to a directory: the classifier in its own form, and ``model.json``.

        Raises
        ------
        ModelError
            If the ratio is not trained, or `path` is something else than a model.
        """
        classifier, fitted = self._trained_classifier, self.fitted
        kind = next(k for k, cls in _KINDS.items() if isinstance(classifier, cls))
        with new_model_folder(path) as folder:
            classifier.save(folder / "classifier")
            content = {
                "format": _FORMAT,
                "classifier": kind,
                "held_out": self.held_out,
                "seed": self.seed,
                "fit": fitted._asdict(),
                "digest": self.digest,
            }
            write_content(folder, content)

    @staticmethod
    def load(path: PathLikeStr) -> BackgroundRatio:
        """Load a ratio that :meth:`save` has written.

        Raises
        ------
        ModelError
            If something is missing, was changed or is of another format; the message names it.
        """
        folder = as_path(path)
        content = read_content(folder, _FORMAT, "BackgroundRatio")
        with complete_content(folder):
            fit = dict(content["fit"])
            signal, background = (whole_field("n_held_out", n) for n in fit.pop("n_held_out"))
            numbers = {name: number_field(name, value) for name, value in fit.items()}
            fitted = RatioFit(**numbers, n_held_out=(signal, background))
            classifier = _KINDS[content["classifier"]].load(folder / "classifier")
            held_out = number_field("held_out", content["held_out"])
            seed = seed_field("seed", content["seed"])
            try:
                ratio = BackgroundRatio(classifier, held_out, seed, fitted)
            except ConfigurationError as error:
                msg = f"{folder} is not a valid background ratio: {error}; train again"
                raise ModelError(msg) from error
            saved_digest = content["digest"]
        if ratio.digest != saved_digest:
            msg = f"{folder} was changed after it was saved; restore it or train again"
            raise ModelError(msg)
        return ratio


def default_classifier(seed: int = 0) -> BagLikelihood:
    """Binary network of single events, without the regularisation that shrinks a ratio.

    Examples
    --------
    >>> default_classifier(1)
    BagLikelihood(binary, bag_size=1, ensemble=1, not trained)
    """
    return BagLikelihood(
        head="binary",
        bag_size=1,
        seed=seed,
        network=NetworkConfig((64, 64, 64), "silu", batch_norm=False, dropout=0.0, l2=0.0),
        training=TrainingConfig(20, 4096, 3e-3, 3e-5, schedule="cosine"),
    )


def _classifier_log_ratio(model: Classifier, sample: Sample) -> FloatArray:
    """Log-ratio of background to signal by the classifier alone, shape (n_events,)."""
    return model.event_llr(sample)[:, 1]


def _regression(
    log_ratios: list[FloatArray], samples: SampleSet
) -> tuple[float, float, FloatArray]:
    """Slope and shift of the logistic regression, and their sandwich covariance (2, 2)."""
    x = np.concatenate(log_ratios)
    design = np.stack([x, np.ones(len(x))], axis=1)
    y = np.repeat([0.0, 1.0], [len(s) for s in samples])
    # Both processes have the same total weight, for any numbers of events.
    w = np.concatenate([s.weights / s.weights.sum() for s in samples])
    beta = np.array([1.0, 0.0])
    for _ in range(50):
        p = expit(design @ beta)
        hessian = design.T @ (design * (w * p * (1 - p))[:, None])
        if not np.all(np.linalg.eigvalsh(hessian) > 0):
            msg = (
                "the held-out events do not determine the scale of the ratio: the processes hardly "
                "overlap, or negative weights cancel the positive ones; hold out more events"
            )
            raise ModelError(msg)
        step = np.linalg.solve(hessian, design.T @ (w * (y - p)))
        beta = beta + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    else:
        msg = (
            "the scale of the ratio does not converge, because the classifier separates the "
            "processes completely"
        )
        raise ModelError(msg)
    inverse = np.linalg.inv(hessian)
    meat = design.T @ (design * (w * (y - p))[:, None] ** 2)
    return float(beta[0]), float(beta[1]), inverse @ meat @ inverse


def _mean_and_error(values: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Weighted mean and its standard error."""
    share = weights / weights.sum()
    mean = float(share @ values)
    return mean, float(np.sqrt(np.sum((share * (values - mean)) ** 2)))
