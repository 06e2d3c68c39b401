"""Loss functionals whose minimum is a likelihood ratio (Nachman & Thaler, eqs. 5–8, table I).

For two classes the loss of an example is −y₁ A(f) − y₀ B(f), where y₀ and y₁ are the probabilities
that it comes from the reference (denominator) and from the numerator.  Its minimum over f gives
the ratio r = p₁/p₀ (eq. 6).  A network ends in an output o without activation, and each loss
defines f and ln r as functions of o:

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

``ratio-mse`` is the regression of ROLR and RASCAL (arXiv:1805.00020), on the ratio to the even
mixture of the classes, which is bounded, in place of the ratio to one of them.

An output of zero is a ratio of one in all of them, so that an untrained network starts there.

An exponential overflows in float32, where a weight of zero turns it into NaN, and long before that
it ruins the running mean of squared gradients in Adam.  Above an exponent of 30 it is therefore
continued by its tangent, and below f = 0.01 the linear f by an exponential.  The ratio is then
another monotonic function of o, which `log_ratio` takes into account: the minimum is exact
everywhere.  (For the MLC this is a C(f) of the paper's footnote 1: increasing and positive.)

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
    """A loss functional and the way back from its outputs to log-ratios.

    Parameters
    ----------
    name
        Name in :data:`LOSSES`.
    n_classes
        2 for the losses of a numerator against a reference, None for any number of classes.

    Notes
    -----
    Source: Nachman & Thaler, table I.  The classes must have equal total weight in training, as
    there; otherwise the ratio of the weights is a factor of what is learned.

    Except for ``mlc-linear`` the log-ratio is the output itself (up to the cap on exponents), so
    that a mean of outputs over a bag is a mean of log-ratios.

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
        """Loss of each example, not averaged and without sample weights.

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
            Shape (n,), of the type of the outputs; finite for outputs up to ±1e20 in float32.

        Raises
        ------
        ModelError
            If the shapes are not these.

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
        """Log-ratios that belong to outputs.

        Parameters
        ----------
        outputs
            Shape (n, 1) for two classes, else (n, K).

        Returns
        -------
        ndarray
            ln p₁/p₀, shape (n,), for two classes.  Otherwise ln pₖ up to a constant common to the
            classes of an example, shape (n, K): subtract the column of the reference.

        Raises
        ------
        ModelError
            If the shape is not this.

        Examples
        --------
        >>> loss("mlc-linear").log_ratio([[0.0], [1.0]]).round(4)
        array([0.    , 0.6931])
        """
        values = np.asarray(outputs, dtype=np.float64)
        self._check(values.shape)
        return self._log_ratio(values if self.n_classes is None else values[:, 0])

    def _check(self, outputs: _Shape, targets: _Shape | None = None) -> None:
        """Refuse shapes that would broadcast by mistake; None allows any length."""
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
    """Exponential of x up to the cap, and its tangent above."""
    return ops.exp(ops.minimum(x, MAX_EXPONENT)) * (1 + ops.relu(x - MAX_EXPONENT))


def _log_exp(ops: Any, x: Tensor) -> Tensor:
    """Logarithm of `_exp`."""
    return ops.minimum(x, MAX_EXPONENT) + ops.log1p(ops.relu(x - MAX_EXPONENT))


def _bce(ops: Any, o: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
    return y1 * ops.softplus(-o) + y0 * ops.softplus(o)


def _mse(ops: Any, o: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
    # (1 − σ(o))² and σ(o)² without cancellation, neither here nor in the derivatives.
    return y1 * ops.exp(-2 * ops.softplus(o)) + y0 * ops.exp(-2 * ops.softplus(-o))


def _square_root(ops: Any, o: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
    return y1 * _exp(ops, -o / 2) + y0 * _exp(ops, o / 2)


def _mlc_exponential(ops: Any, o: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
    return -y1 * _log_exp(ops, o) + y0 * (_exp(ops, o) - 1)


def _mlc_linear(ops: Any, o: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
    """MLC with f = 1 + o, and f = δ exp((1 + o)/δ − 1) where 1 + o is below δ = 0.01.

    The paper asks for f ≥ 0; the network published with it ends in a ReLU, where an event with
    f = 0 has an infinite loss or no gradient.  The exponential meets the line with the same slope,
    keeps f positive and the loss convex, and gives slopes of at most 1/δ.
    """
    above = ops.maximum(1 + o, MIN_LINEAR_RATIO)
    below = ops.relu(MIN_LINEAR_RATIO - 1 - o) / MIN_LINEAR_RATIO
    return -y1 * (ops.log(above) - below) + y0 * (above * ops.exp(-below) - 1)


def _cross_entropy(ops: Any, o: Tensor, y: Tensor) -> Tensor:
    return -ops.sum(y * ops.log_softmax(o, axis=-1), axis=-1)


def _ratio_mse(ops: Any, o: Tensor, y: Tensor) -> Tensor:
    return ops.sum(ops.square(ops.softmax(o, axis=-1) - y), axis=-1)


def _square_root_log_ratio(o: FloatArray) -> FloatArray:
    # −B'/A' of eq. 6: the slopes of the two exponentials stop growing at the cap.
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
    """Return the loss of that name.

    Parameters
    ----------
    name
        ``cross-entropy`` or ``ratio-mse`` (K classes), ``bce``, ``mse``, ``square-root``,
        ``mlc-linear`` or ``mlc-exponential`` (two classes: Nachman & Thaler, table I).

    Raises
    ------
    ConfigurationError
        If there is none.

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
    """Cross-entropy between a reference and each of many alternatives, summed over these.

    Parameters
    ----------
    outputs
        Log-ratios of the alternatives to the reference, shape (n, K).
    targets
        Weights of each example in the reference, for each alternative, then in the alternatives,
        shape (n, 2 K).  They may be negative, and an example may count in both.

    Returns
    -------
    tensor
        Shape (n,).

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
