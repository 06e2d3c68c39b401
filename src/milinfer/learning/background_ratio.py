"""Learn the density ratio of a background to the signal with a classifier.

The classifier is a :class:`~milinfer.learning.bag_likelihood.BagLikelihood` or a
:class:`~milinfer.learning.boosted_trees.BoostedLikelihood`, trained on one sample of the signal and
one of the background.  Some of the held-out events determine the scale of the log-ratio of the
classifier; the other held-out events check the result.
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
# A mean of the ratio that deviates from one by this many errors is not a fluctuation.
_SIGMAS = 5.0


class RatioFit(NamedTuple):
    r"""Scale of a learned density ratio b, and checks of it, from held-out events.

    The signal has the density :math:`p_s`, the background :math:`p_b`, and b is the learned
    :math:`p_b/p_s`.

    Parameters
    ----------
    slope, slope_error
        Factor on the log-ratio of the classifier, and its standard error.  The factor should be
        near one.
    shift, shift_error
        Constant that is added to correct the normalisation, and its standard error.  The constant
        should be near zero.  The result is ln b = slope · (log-ratio of the classifier) + shift.
    mean_signal, mean_signal_error
        :math:`E_{p_s}[b]`, the mean of b over signal events that neither the training nor the fit
        of `slope` and `shift` has used, and its standard error.  The mean should be one.
    mean_background, mean_background_error
        :math:`E_{p_b}[1/b]`, the mean of 1/b over background events that neither the training nor
        the fit of `slope` and `shift` has used, and its standard error.  The mean should be one.
    n_held_out
        Numbers of signal events and of background events in these two means.
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
        """Deviations of `mean_signal` and `mean_background` from one, in standard errors."""
        return (
            (self.mean_signal - 1) / self.mean_signal_error,
            (self.mean_background - 1) / self.mean_background_error,
        )


@dataclass(frozen=True, eq=False)
class BackgroundRatio:
    r"""Learn :math:`\ln p_b(x)/p_s(x|\theta_0)`, the log density ratio of background to signal.

    A classifier of single events learns the ratio from events of the signal (density :math:`p_s` at
    the reference point θ0) and of the background (density :math:`p_b`).  Event weights may be
    negative if the classifier is a network.

    Regularisation and early stopping make the log-ratio of the classifier too small or too large by
    a common factor.  A logistic regression on held-out events corrects this factor and the
    normalisation. (Its intercept is the acceptance ratio of two densities: Bennett, J. Comput.
    Phys. 22, 245, 1976.) Held-out events that the regression has not used check that the corrected
    ratio b fulfils :math:`E_{p_s}[b] = E_{p_b}[1/b] = 1`.  These means reveal a wrong scale, but
    they do not reveal a ratio that is right on average and wrong in detail.  If the background has
    events in regions where the signal has few, b has a heavy tail and its mean has a large error.

    If there are several backgrounds, train one ratio for each:
    ``{name: BackgroundRatio().fit(signal, sample) …}``.

    Parameters
    ----------
    classifier
        Untrained classifier: a :class:`~milinfer.learning.bag_likelihood.BagLikelihood` with
        ``head="binary"`` and ``bag_size=1``, or a
        :class:`~milinfer.learning.boosted_trees.BoostedLikelihood`.  Default: a network.
    held_out
        Fraction of the events of each process on which the classifier is not trained, between 0 and
        1.  Half of these events decide when the training stops, and determine the scale of the
        ratio.  The other half check the ratio.
    seed
        Random seed of the split and of the default classifier.

    Raises
    ------
    ConfigurationError
        If the classifier classifies bags of several events, or `held_out` is not between 0 and 1.

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
                "the density ratio of a background needs a classifier of single events, not "
                f"head={model.head!r} with bag_size={model.events_in_bag}; use "
                "BagLikelihood(head='binary', bag_size=1)"
            )
            raise ConfigurationError(msg)
        if model is not None and model.reference != 0:
            msg = (
                f"reference={model.reference} of the classifier must be 0, the label of the "
                "signal; set reference=0"
            )
            raise ConfigurationError(msg)

    def fit(self, signal: Sample, background: Sample) -> BackgroundRatio:
        """Train the classifier, scale its log-ratio and check it; return the trained ratio.

        The object itself is not changed.

        Parameters
        ----------
        signal
            Signal events at θ0.
        background
            Background events, with the same features as the signal.

        Raises
        ------
        SampleError
            If the features of the two samples differ.
        ModelError
            If the training fails, or the scale cannot be determined from the weighted events.

        Warns
        -----
        MilinferWarning
            If the mean of b or 1/b over held-out events deviates from one by five errors or more.
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
        """Scale of the ratio and the results of the checks.

        Raises
        ------
        ModelError
            If the ratio is not trained; call :meth:`fit` and use the object that it returns.
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
        """Names of the features that the classifier needs."""
        return self._trained_classifier.feature_names

    @property
    def digest(self) -> str:
        """Hash of the trained parameters; it does not change when the ratio is saved and loaded."""
        text = repr((self._trained_classifier.digest, self.fitted.slope, self.fitted.shift))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the events on which the classifier was trained."""
        return self._trained_classifier.trained_on

    @property
    def _trained_classifier(self) -> Classifier:
        self.fitted  # noqa: B018  # raises if there is none
        assert self.classifier is not None
        return self.classifier

    def log_ratio(self, sample: Sample) -> FloatArray:
        """Return ln p_b(x)/p_s(x|θ0) of each event, shape (n_events,)."""
        return (
            self.fitted.slope * _classifier_log_ratio(self._trained_classifier, sample)
            + self.fitted.shift
        )

    def save(self, path: PathLikeStr) -> None:
        """Save the ratio to a directory: the files of the classifier, and ``model.json``.

        Raises
        ------
        ModelError
            If the ratio is not trained, or `path` exists and is not a saved model.
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
        """Load a ratio that :meth:`save` has written to a directory.

        Raises
        ------
        ModelError
            If a file is missing, was changed or has another format; the message names the file.
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
    """Return an untrained binary network of single events without regularisation.

    Regularisation would shrink the learned ratio.

    Examples
    --------
    >>> default_classifier(1)
    BagLikelihood(binary, bag_size=1, ensemble=1, not trained)
    """
    return BagLikelihood(
        head="binary",
        bag_size=1,
        normalise=False,
        seed=seed,
        network=NetworkConfig((64, 64, 64), "silu", batch_norm=False, dropout=0.0, l2=0.0),
        training=TrainingConfig(20, 4096, 3e-3, 3e-5, schedule="cosine"),
    )


def _classifier_log_ratio(model: Classifier, sample: Sample) -> FloatArray:
    """Return the log-ratio of background to signal from the classifier alone, (n_events,)."""
    return model.event_llr(sample)[:, 1]


def _regression(
    log_ratios: list[FloatArray], samples: SampleSet
) -> tuple[float, float, FloatArray]:
    """Return slope and shift of the logistic regression, and their sandwich covariance (2, 2)."""
    x = np.concatenate(log_ratios)
    design = np.stack([x, np.ones(len(x))], axis=1)
    y = np.repeat([0.0, 1.0], [len(s) for s in samples])
    # Both processes get the same total weight, whatever their numbers of events.
    w = np.concatenate([s.weights / s.weights.sum() for s in samples])
    beta = np.array([1.0, 0.0])
    for _ in range(50):
        p = expit(design @ beta)
        hessian = design.T @ (design * (w * p * (1 - p))[:, None])
        if not np.all(np.linalg.eigvalsh(hessian) > 0):
            msg = (
                "the held-out events do not determine the scale of the ratio: the signal and the "
                "background hardly overlap, or negative weights cancel the positive ones; increase "
                "held_out="
            )
            raise ModelError(msg)
        step = np.linalg.solve(hessian, design.T @ (w * (y - p)))
        beta = beta + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    else:
        msg = (
            "the scale of the ratio does not converge, because the classifier separates the "
            "processes completely; leave out regions or features in which the processes do not "
            "overlap"
        )
        raise ModelError(msg)
    inverse = np.linalg.inv(hessian)
    meat = design.T @ (design * (w * (y - p))[:, None] ** 2)
    return float(beta[0]), float(beta[1]), inverse @ meat @ inverse


def _mean_and_error(values: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Return a weighted mean and its standard error."""
    share = weights / weights.sum()
    mean = float(share @ values)
    return mean, float(np.sqrt(np.sum((share * (values - mean)) ** 2)))
