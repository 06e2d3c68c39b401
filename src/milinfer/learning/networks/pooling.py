r"""Pooling: combine the events of a bag into one vector that does not depend on their order.

Every kind has the form ``head(finish(reduce_i summarise(φ(x_i))))``.  φ is the output of the layers
for events (the embedding), ``summarise`` does not depend on the bag, and ``reduce`` is a sum or a
maximum over the events of the bag.  The network therefore processes each event once.  Bags, toys
and bootstraps are sums over cached summaries, and the layers after the pooling are small.

============================  =======================================  ==========================
kind                          summary of an event with embedding z     finish, for n events
============================  =======================================  ==========================
``mean``                      z                                        Σ / n
``sum``                       z                                        Σ
``attention``                 eᵃ z, eᵃ;  a = w·tanh(V z + b)           Σ eᵃ z / Σ eᵃ
``gated-attention``           the same;  a = w·(tanh(V z + b) σ(…))    Σ eᵃ z / Σ eᵃ
``noisy-or``                  ln(1 − σ(z))                             ln(e^(−Σ) − 1)
``max``                       z                                        max
``log-sum-exp``               e^(s z)                                  ln(Σ / n) / s
============================  =======================================  ==========================

**Why scores are bounded.**  A softmax usually subtracts the largest score of the bag to avoid an
overflow.  A summary that contains the largest score of its bag could not be cached and added up in
other bags.  Here the exponent itself is bounded instead: up to 80 % of a limit it is unchanged, and
beyond it approaches the limit smoothly.  A sum of exponentials then fits into float32 for any
events, and stays additive.  The limit is 10 for attention, so one event has at most e²⁰ times the
weight of another, and 60 for log-sum-exp, so z is unchanged for \|z\| ≤ 48 / s.

Importing this module imports Keras.

References
----------
Deep sets: Zaheer et al. 2017, arXiv:1703.06114; as particle flow networks (PFN): Komiske,
Metodiev, Thaler 2019, arXiv:1810.05165.  Attention: Ilse, Tomczak, Welling 2018,
arXiv:1802.04712, eqs. 8 and 9.  Noisy-or: Maron, Lozano-Pérez 1998, "A framework for
multiple-instance learning", NIPS 10.  Log-sum-exp: Ramon, De Raedt 2000, "Multi instance neural
networks"; Pinheiro, Collobert 2015, arXiv:1411.6228.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.learning.networks.backend import keras
from milinfer.typing import Float32Array, FloatArray, IntArray

__all__ = ["BagPooling", "POOLINGS", "segment_reduce"]


POOLINGS = ("mean", "sum", "attention", "gated-attention", "noisy-or", "max", "log-sum-exp")
"""Kinds of pooling of :class:`BagPooling`."""
_ATTENTION = ("attention", "gated-attention")
_REDUCTIONS = ("sum", "max")
_SCORE_LIMIT = 10.0
_EXPONENT_LIMIT = 60.0  # e^60 = 1e26: a sum over 1e12 events fits float32, and so does e^-60
_LINEAR = 0.8  # fraction of a limit up to which nothing is changed
_LOGIT_FLOOR = -80.0  # e^-80 = 2e-35 is still a normal float32


@keras.saving.register_keras_serializable(package="milinfer")
class BagPooling(keras.layers.Layer):  # type: ignore[misc]  # keras has no type information
    """Pooling of the events of a bag, in two steps: before and after a sum or a maximum.

    In the training it is an ordinary layer that is called on padded bags.  After the training,
    :meth:`summarise` processes each event once, :func:`segment_reduce` forms bags of any sizes, and
    :meth:`finish` computes the output, which has the width of the embedding (the output of the
    layers for events).  The formulas, and the reason why exponents are bounded, are in
    :mod:`milinfer.learning.networks.pooling`.

    Parameters
    ----------
    kind
        Name in :data:`POOLINGS`.  For ``noisy-or`` the embedding contains the log-odds of single
        events, and the output is the log-odds that at least one event is positive.  Log-odds below
        -80 count as -80.
    width
        Width of the embedding.
    attention_width
        Width of the hidden layer of the attention scores; other kinds ignore it.
    sharpness
        Sharpness of ``log-sum-exp``.  For embeddings within ±48 / sharpness, the result goes to the
        mean if the sharpness goes to 0, and to the maximum if it goes to ∞. For a sharpness below
        about 0.01, float32 loses digits; use ``mean`` instead.  Other kinds ignore this argument.
    seed
        Random seed of the initial weights of the attention scores; global seeds are neither used
        nor set.
    **kwargs
        Options of ``keras.layers.Layer``.  The default dtype is float32 under any global policy,
        because exponentials do not fit float16.

    Raises
    ------
    ConfigurationError
        If the kind is unknown, a width is not positive or the sharpness is not a positive number.

    Examples
    --------
    >>> import numpy as np
    >>> bags = np.array([[[1.0], [3.0], [99.0]]])  # one bag; the third row is padding
    >>> layer = BagPooling("mean", 1)
    >>> np.asarray(layer(bags, mask=np.array([[True, True, False]])))
    array([[2.]], dtype=float32)

    The same layer applied to cached summaries, for a bag of two events and a bag of one event:

    >>> summary = np.asarray(layer.summarise(bags[0]))
    >>> np.asarray(layer.finish(segment_reduce(summary, [0, 2, 3], layer.reduction), [2, 1]))
    array([[ 2.], [99.]])
    """

    def __init__(
        self,
        kind: str,
        width: int,
        attention_width: int = 32,
        sharpness: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if kind not in POOLINGS:
            msg = f"unknown pooling {kind!r}; use one of {', '.join(POOLINGS)}"
            raise ConfigurationError(msg)
        for name, value in (("width", width), ("attention_width", attention_width)):
            if value < 1:
                msg = f"{name}={value} of the {kind} pooling must be at least 1"
                raise ConfigurationError(msg)
        if not 0 < sharpness < np.inf:
            msg = f"sharpness={sharpness} of the {kind} pooling must be positive and finite"
            raise ConfigurationError(msg)
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.supports_masking = True
        self.kind = kind
        self.width = int(width)
        self.attention_width = int(attention_width)
        self.sharpness = float(sharpness)
        self.seed = int(seed)
        # Weights are created here and not at the first call, because summarise needs them.
        if kind in _ATTENTION:
            seeds = np.random.SeedSequence(seed).generate_state(3).tolist()
            hidden = (width, attention_width)
            self._hidden = self._kernel("hidden_kernel", hidden, seeds[0])
            self._hidden_bias = self._bias("hidden_bias")
            self._score = self._kernel("score_kernel", (attention_width, 1), seeds[1])
            if kind == "gated-attention":
                self._gate = self._kernel("gate_kernel", hidden, seeds[2])
                self._gate_bias = self._bias("gate_bias")

    def _kernel(self, name: str, shape: tuple[int, int], seed: int) -> Any:
        initializer = keras.initializers.GlorotUniform(seed=seed)
        return self.add_weight(name=name, shape=shape, initializer=initializer)

    def _bias(self, name: str) -> Any:
        return self.add_weight(name=name, shape=(self.attention_width,), initializer="zeros")

    @property
    def reduction(self) -> Literal["sum", "max"]:
        """How summaries are combined: ``"sum"`` or ``"max"``."""
        return "max" if self.kind == "max" else "sum"

    @property
    def summary_width(self) -> int:
        """Number of values to cache for an event."""
        return self.width + 1 if self.kind in _ATTENTION else self.width

    @property
    def output_width(self) -> int:
        """Number of values that describe a bag."""
        return self.width

    def summarise(self, embedding: Any) -> Any:
        """Return the summaries of single events, which do not depend on the bag.

        For both kinds of attention the last column is eᵃ, where a is the attention score of the
        event.  Divided by the sum of eᵃ over a bag, it is the attention weight of the event in the
        bag.

        Parameters
        ----------
        embedding
            Outputs of the layers for events, shape (..., width).

        Returns
        -------
        tensor
            Summaries, shape (..., summary_width).

        Raises
        ------
        ConfigurationError
            If the embedding has another width.
        """
        if embedding.shape[-1] != self.width:
            msg = (
                f"the {self.kind} pooling needs embeddings of width {self.width}, not of "
                f"shape {tuple(embedding.shape)}"
            )
            raise ConfigurationError(msg)
        ops = keras.ops
        z = ops.cast(embedding, self.compute_dtype)
        if self.kind in _ATTENTION:
            hidden = ops.tanh(ops.matmul(z, self._hidden) + self._hidden_bias)
            if self.kind == "gated-attention":
                hidden *= ops.sigmoid(ops.matmul(z, self._gate) + self._gate_bias)
            weight = ops.exp(_soft_clip(ops.matmul(hidden, self._score), _SCORE_LIMIT))
            return ops.concatenate([weight * z, weight], axis=-1)
        if self.kind == "noisy-or":
            return -ops.softplus(ops.maximum(z, _LOGIT_FLOOR))
        if self.kind == "log-sum-exp":
            return ops.exp(_soft_clip(self.sharpness * z, _EXPONENT_LIMIT))
        return z

    def finish(self, reduced: Any, counts: Any) -> Any:
        """Turn the combined summaries of bags into outputs.

        Parameters
        ----------
        reduced
            Sum or maximum of the summaries over each bag, shape (n_bags, summary_width).
        counts
            Number of events in each bag, shape (n_bags,).

        Returns
        -------
        tensor
            Outputs, shape (n_bags, output_width), of the type of ``reduced``: float64 stays
            float64.  An empty bag gives NaN for every kind.
        """
        ops = keras.ops
        reduced = ops.convert_to_tensor(reduced)
        counts = ops.expand_dims(ops.cast(counts, reduced.dtype), -1)
        if self.kind == "mean":
            output = reduced / counts
        elif self.kind in _ATTENTION:
            output = reduced[..., : self.width] / reduced[..., self.width :]
        elif self.kind == "noisy-or":
            # ln(p / (1 - p)) with t = -ln(1 - p): neither 1 - p nor p is computed as a difference,
            # so that surely negative and surely positive bags keep their digits.
            t = -reduced
            output = t + ops.log(-ops.expm1(-t))
        elif self.kind == "log-sum-exp":
            output = ops.log(reduced / counts) / self.sharpness
        else:
            output = reduced
        return ops.where(counts > 0, output, np.nan)

    def call(self, embedding: Any, mask: Any = None) -> Any:
        """Pool padded bags.

        Parameters
        ----------
        embedding
            Outputs of the layers for events, shape (n_bags, n_events, width).
        mask
            True for events, false for padding, shape (n_bags, n_events); None: all rows are events.
            Padding has no effect on output and gradient, even if it is NaN.

        Returns
        -------
        tensor
            Outputs, shape (n_bags, output_width).  A graph cannot raise an error for an empty bag.
            The output of an empty bag is NaN, so the loss becomes NaN, too.
        """
        ops = keras.ops
        if mask is None:
            summary = self.summarise(embedding)
            present = ops.ones_like(summary[..., 0])
        else:
            mask = ops.cast(mask, "bool")
            rows = ops.expand_dims(mask, -1)
            # Before the summary as well: the gradient of an overflow is NaN even if it is unused.
            summary = self.summarise(ops.where(rows, embedding, 0.0))
            summary = ops.where(rows, summary, -np.inf if self.reduction == "max" else 0.0)
            present = ops.where(mask, ops.ones_like(summary[..., 0]), 0.0)
        reduce = ops.max if self.reduction == "max" else ops.sum
        return self.finish(reduce(summary, axis=1), ops.sum(present, axis=1))

    def compute_mask(self, embedding: Any, previous_mask: Any = None) -> None:  # noqa: ARG002
        """Return None: the output has no padding and needs no mask."""
        return

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output, (n_bags, output_width)."""
        return (input_shape[0], self.output_width)

    def get_config(self) -> dict[str, Any]:
        """Return everything that is needed to build the layer again."""
        names = ("kind", "width", "attention_width", "sharpness", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def segment_reduce(
    summary: Float32Array | FloatArray, offsets: IntArray, reduction: str
) -> FloatArray:
    """Return sums or maxima of event summaries over consecutive, non-empty bags of any sizes.

    Parameters
    ----------
    summary
        Summaries of events, ordered by bag, shape (n_events, summary_width).
    offsets
        Bag ``b`` has the events ``offsets[b]`` to ``offsets[b + 1] - 1``; shape (n_bags + 1,),
        from 0 to n_events, as returned by :func:`milinfer.samples.bags.bag_offsets`.
    reduction
        ``"sum"`` or ``"max"``: see :attr:`BagPooling.reduction`.

    Returns
    -------
    array
        Sums (computed in float64) or maxima, shape (n_bags, summary_width), float64.

    Raises
    ------
    SampleError
        If a bag is empty, or the bags do not contain every event once.
    ConfigurationError
        If the reduction is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> segment_reduce(np.array([[1.0], [2.0], [4.0]]), np.array([0, 1, 3]), "sum")
    array([[1.], [6.]])
    """
    if reduction not in _REDUCTIONS:
        msg = f"unknown reduction {reduction!r}; use one of {', '.join(_REDUCTIONS)}"
        raise ConfigurationError(msg)
    edges: IntArray = np.asarray(offsets)
    if summary.ndim != 2 or edges.ndim != 1 or not np.issubdtype(edges.dtype, np.integer):
        msg = (
            f"summaries of shape {summary.shape} do not fit offsets of shape {edges.shape} and "
            f"type {edges.dtype}; use (n_events, summary_width) with integers (n_bags + 1,)"
        )
        raise SampleError(msg)
    edges = edges.astype(np.int64, copy=False)  # differences of unsigned numbers wrap
    if len(edges) == 0 or edges[0] != 0 or edges[-1] != len(summary):
        span = f"from {edges[0]} to {edges[-1]}" if len(edges) else "empty"
        msg = f"the offsets are {span}; they must run from 0 to the {len(summary)} events"
        raise SampleError(msg)
    wrong = np.flatnonzero(np.diff(edges) <= 0)
    if len(wrong):
        bag = int(wrong[0])
        msg = (
            f"bag {bag} is empty: its offsets are {edges[bag]} and {edges[bag + 1]} ({len(wrong)} "
            f"such bags of {len(edges) - 1}); remove empty bags"
        )
        raise SampleError(msg)
    if reduction == "max":
        return np.maximum.reduceat(summary, edges[:-1], axis=0).astype(np.float64)
    total: FloatArray = np.add.reduceat(summary, edges[:-1], axis=0, dtype=np.float64)
    return total


def _soft_clip(x: Any, limit: float) -> Any:
    """Return x for |x| ≤ 0.8 limit, and a smooth curve below the limit beyond.

    It is twice differentiable.
    """
    knee, rest = _LINEAR * limit, (1 - _LINEAR) * limit
    inner = keras.ops.clip(x, -knee, knee)
    return inner + rest * keras.ops.tanh((x - inner) / rest)
