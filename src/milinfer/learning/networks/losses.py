"""Loss functionals whose minimum is a likelihood ratio (Nachman & Thaler, eqs. 5–8, table I).

For two classes the loss of an example is −y₁ A(f) − y₀ B(f).  Here y₀ and y₁ are the probabilities
that the example comes from the reference (denominator) and from the numerator, and f is the output
of the classifier.  The minimum of the loss over f gives the ratio r = p₁/p₀ (eq. 6).  A network
ends in an output o without activation, and each loss defines f and ln r as functions of o:

================== ==================== ==================== ============================
name               A(f)                 B(f)                 f and ratio at the minimum
================== ==================== ==================== ============================
bce                log f                log(1 − f)           f = σ(o), r = exp o
mse                −(1 − f)²            −f²                  f = σ(o), r = exp o
square-root        −1/√f                −√f                  f = exp o, r = f
mlc-exponential    log f                1 − f                f = exp o, r = f
mlc-linear         log f                1 − f                f = 1 + o, r = f
cross-entropy      K classes: −Σ yₖ log softmax(o)ₖ, oₖ = ln pₖ + constant
ratio-mse          K classes: Σ (softmax(o)ₖ − yₖ)²
================== ==================== ==================== ============================

``ratio-mse`` is the regression of ROLR and RASCAL (arXiv:1805.00020).  It learns the ratio to the
equal mixture of the classes, which is bounded, instead of the ratio to one class.

With all losses an output of zero means a ratio of one, so the ratio of an untrained network is near
one.

An exponential can overflow in float32, and a weight of zero turns the overflow into NaN.  Even a
large exponential that does not overflow spoils the running mean of squared gradients in Adam.  For
exponents above 30, the exponential is therefore replaced by its tangent at 30.  The linear f = 1 +
o is replaced by an exponential where f would be below 0.01.  In these regions the ratio is another
monotonic function of o.  `log_ratio` takes this into account, so the ratio at the minimum is exact
everywhere. (For MLC, the maximum-likelihood classifier loss, these replacements are functions C(f)
as in footnote 1 of the paper: increasing and positive.)

Importing this module does not import Keras; calling a loss does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ConfigurationError, ModelError
from milinfer.typing import FloatArray

__all__ = ["LOSSES", "RatioLoss", "loss", "paired_cross_entropy"]

Tensor: TypeAlias = Any
"""A tensor of the Keras backend; spelled ``Any`` so that importing this module stays light."""

_Shape: TypeAlias = tuple[int | None, ...]

MAX_EXPONENT = 30.0
"""Exponentials of outputs are continued linearly above this value."""

MIN_LINEAR_RATIO = 0.01
"""Below this value the linear f = 1 + o is continued by an exponential, which stays positive."""


@dataclass(frozen=True)
class RatioLoss:
    """Loss functional, and the function that converts outputs of the network to log-ratios.

    Parameters
    ----------
    name
        Name in :data:`LOSSES`.
    n_classes
        2 for losses of a numerator against a reference, None for any number of classes.

    Notes
    -----
    Source: Nachman & Thaler, table I.  The classes must have equal total weight in training, as in
    the paper; if they do not, the learned ratio contains the ratio of the total weights as a
    factor.

    Except for ``mlc-linear`` the log-ratio is the output itself (up to the limit on exponents), so
    the mean of outputs over a bag is the mean of log-ratios.

    Keras calls a loss with the targets first: ``loss=lambda y, outputs: ratio_loss(outputs, y)``.

    Examples
    --------
    >>> import numpy as np
    >>> mlc = loss("mlc-exponential")
    >>> outputs, targets = np.float32([[0.0], [0.7]]), np.float32([[1, 0], [0.2, 0.8]])
    >>> np.asarray(mlc(outputs, targets)).round(3)
    array([ 0.   , -0.357], dtype=float32)
    >>> mlc.log_ratio(outputs).round(3)
    array([0. , 0.7])
    """

    name: str
    n_classes: int | None
    _loss: Callable[..., Tensor] = field(repr=False)
    _log_ratio: Callable[[FloatArray], FloatArray] = field(repr=False)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each example, not averaged and without sample weights.

        Parameters
        ----------
        outputs
            Outputs of the network, without activation: shape (n, 1) for two classes, else (n, K).
        targets
            Class probabilities, one-hot or soft, shape (n, 2) or (n, K).  For two classes column 0
            is the reference θ₀ (denominator) and column 1 the numerator.

        Returns
        -------
        tensor
            Losses, shape (n,), of the type of the outputs; finite for outputs up to ±1e20.

        Raises
        ------
        ModelError
            If the outputs or targets have another shape.

        Examples
        --------
        >>> import numpy as np
        >>> np.asarray(loss("bce")(np.float32([[0.0]]), np.float32([[0, 1]]))).round(4)
        array([0.6931], dtype=float32)
        """
        from milinfer.learning.networks.backend import keras

        ops = keras.ops
        outputs = ops.convert_to_tensor(outputs)
        targets = ops.convert_to_tensor(targets, dtype=outputs.dtype)
        self._check(tuple(outputs.shape), tuple(targets.shape))
        if self.n_classes is None:
            return self._loss(ops, outputs, targets)
        return self._loss(ops, outputs[:, 0], targets[:, 0], targets[:, 1])

    def log_ratio(self, outputs: ArrayLike) -> FloatArray:
        """Return the log-ratios for outputs of the network.

        Parameters
        ----------
        outputs
            Outputs of the network, shape (n, 1) for two classes, else (n, K).

        Returns
        -------
        ndarray
            For two classes, ln p₁/p₀, shape (n,).  For K classes, ln pₖ plus a constant that is
            common to all classes of an example, shape (n, K); subtract the column of the reference
            to obtain log-ratios.

        Raises
        ------
        ModelError
            If the outputs have another shape.

        Examples
        --------
        >>> loss("mlc-linear").log_ratio([[0.0], [1.0]]).round(4)
        array([0.    , 0.6931])
        """
        values = np.asarray(outputs, dtype=np.float64)
        self._check(values.shape)
        return self._log_ratio(values if self.n_classes is None else values[:, 0])

    def _check(self, outputs: _Shape, targets: _Shape | None = None) -> None:
        """Raise for shapes that would broadcast by mistake; None means any length."""
        if len(outputs) != 2 or (self.n_classes and outputs[1] not in {1, None}):
            expected = "(n, 1)" if self.n_classes else "(n, K)"
            msg = f"loss {self.name!r} needs outputs of shape {expected}, not {outputs}"
            raise ModelError(msg)
        expected_shape = (outputs[0], self.n_classes or outputs[1])
        if targets is not None and (
            len(targets) != 2
            or any(
                None not in {a, b} and a != b for a, b in zip(expected_shape, targets, strict=True)
            )
        ):
            msg = f"loss {self.name!r} needs targets of shape {expected_shape}, not {targets}"
            raise ModelError(msg)


def _exp(ops: Any, x: Tensor) -> Tensor:
    """Return the exponential of x up to the limit, and its tangent above."""
    return ops.exp(ops.minimum(x, MAX_EXPONENT)) * (1 + ops.relu(x - MAX_EXPONENT))


def _log_exp(ops: Any, x: Tensor) -> Tensor:
    """Logarithm of `_exp`."""
    return ops.minimum(x, MAX_EXPONENT) + ops.log1p(ops.relu(x - MAX_EXPONENT))


def _bce(ops: Any, o: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
    return y1 * ops.softplus(-o) + y0 * ops.softplus(o)


def _mse(ops: Any, o: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
    # (1 − σ(o))² and σ(o)² without cancellation, also in the derivatives.
    return y1 * ops.exp(-2 * ops.softplus(o)) + y0 * ops.exp(-2 * ops.softplus(-o))


def _square_root(ops: Any, o: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
    return y1 * _exp(ops, -o / 2) + y0 * _exp(ops, o / 2)


def _mlc_exponential(ops: Any, o: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
    return -y1 * _log_exp(ops, o) + y0 * (_exp(ops, o) - 1)


def _mlc_linear(ops: Any, o: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
    """Return the MLC loss with f = 1 + o, and f = δ exp((1 + o)/δ − 1) if 1 + o is below δ = 0.01.

    The paper requires f ≥ 0.  The network published with it ends in a ReLU, for which an event with
    f = 0 has an infinite loss or no gradient.  The exponential continues the line with the same
    slope.  It keeps f positive and the loss convex, with slopes of at most 1/δ.
    """
    above = ops.maximum(1 + o, MIN_LINEAR_RATIO)
    below = ops.relu(MIN_LINEAR_RATIO - 1 - o) / MIN_LINEAR_RATIO
    return -y1 * (ops.log(above) - below) + y0 * (above * ops.exp(-below) - 1)


def _cross_entropy(ops: Any, o: Tensor, y: Tensor) -> Tensor:
    return -ops.sum(y * ops.log_softmax(o, axis=-1), axis=-1)


def _ratio_mse(ops: Any, o: Tensor, y: Tensor) -> Tensor:
    return ops.sum(ops.square(ops.softmax(o, axis=-1) - y), axis=-1)


def _square_root_log_ratio(o: FloatArray) -> FloatArray:
    # −B'/A' of eq. 6: the slopes of the two exponentials stop growing at the limit.
    return np.minimum(o / 2, MAX_EXPONENT) - np.minimum(-o / 2, MAX_EXPONENT)


def _mlc_exponential_log_ratio(o: FloatArray) -> FloatArray:
    return np.asarray(np.minimum(o, MAX_EXPONENT) + np.log1p(np.maximum(o - MAX_EXPONENT, 0)))


def _mlc_linear_log_ratio(o: FloatArray) -> FloatArray:
    below = np.maximum(MIN_LINEAR_RATIO - 1 - o, 0) / MIN_LINEAR_RATIO
    return np.asarray(np.log(np.maximum(1 + o, MIN_LINEAR_RATIO)) - below)


LOSSES: dict[str, RatioLoss] = {
    item.name: item
    for item in (
        RatioLoss("cross-entropy", None, _cross_entropy, np.copy),
        RatioLoss("ratio-mse", None, _ratio_mse, np.copy),
        RatioLoss("bce", 2, _bce, np.copy),
        RatioLoss("mse", 2, _mse, np.copy),
        RatioLoss("square-root", 2, _square_root, _square_root_log_ratio),
        RatioLoss("mlc-linear", 2, _mlc_linear, _mlc_linear_log_ratio),
        RatioLoss("mlc-exponential", 2, _mlc_exponential, _mlc_exponential_log_ratio),
    )
}
"""All losses by name."""


def loss(name: str) -> RatioLoss:
    """Return the loss with a given name.

    Parameters
    ----------
    name
        ``cross-entropy`` or ``ratio-mse`` (K classes), ``bce``, ``mse``, ``square-root``,
        ``mlc-linear`` or ``mlc-exponential`` (two classes: Nachman & Thaler, table I).

    Raises
    ------
    ConfigurationError
        If there is no loss with this name.

    Examples
    --------
    >>> loss("bce")
    RatioLoss(name='bce', n_classes=2)
    """
    try:
        return LOSSES[name]
    except KeyError:
        msg = f"there is no loss {name!r}; choose one of {', '.join(LOSSES)}"
        raise ConfigurationError(msg) from None


def paired_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy between a reference and K alternatives, summed over alternatives.

    Parameters
    ----------
    outputs
        Log-ratios of the alternatives to the reference, shape (n, K).
    targets
        Weights of each example, shape (n, 2 K).  The first K columns are its weights as an example
        of the reference, one for each alternative.  The last K columns are its weights as an
        example of each alternative.  Weights may be negative, and an example may have weights of
        both kinds.

    Returns
    -------
    tensor
        Losses, shape (n,).

    Examples
    --------
    >>> import numpy as np
    >>> np.asarray(paired_cross_entropy(np.float32([[0.0]]), np.float32([[1.0, 2.0]]))).round(4)
    array([2.0794], dtype=float32)
    """
    from milinfer.learning.networks.backend import keras

    ops = keras.ops
    n = outputs.shape[1]
    # softplus(−o) = softplus(o) − o: one exponential for both.
    above = ops.softplus(outputs)
    return ops.sum(targets[:, :n] * above + targets[:, n:] * (above - outputs), axis=1)
