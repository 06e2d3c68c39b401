"""Batch normalisation and dropout that give the results of Keras with fewer passes over memory.

On a CPU, passes over memory and random numbers take more time in a network of width 64 than matrix
products (docs/training.md has the figures).  Importing this module imports Keras.
"""

from __future__ import annotations

from typing import Any

from milinfer.learning.networks.backend import keras, tf

__all__ = ["BatchNormalization", "Dropout"]


class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]  # keras is untyped
    """Batch normalisation of rows, with an explicit gradient.

    Mean and variance of a batch are computed in one pass, relative to the moving mean so that no
    digits cancel.  The gradient needs two sums and one pass, whereas automatic differentiation
    stores and reads every intermediate result.  Weights, moving averages and outputs are the same
    as for ``keras.layers.BatchNormalization`` with the same momentum.

    Parameters
    ----------
    momentum
        Momentum of the moving averages.  The default of Keras, 0.99, averages over a hundred steps.
        If there are a hundred thousand training events, these are several epochs.  The validation
        loss would then be that of an outdated network, and would stop the training too early.

    Examples
    --------
    >>> import numpy as np
    >>> layer = BatchNormalization()
    >>> np.asarray(layer(np.array([[1.0], [3.0]], np.float32), training=True)).round(2)
    array([[-1.],
           [ 1.]], dtype=float32)
    """

    def __init__(self, momentum: float = 0.9, **options: Any) -> None:
        super().__init__(momentum=momentum, **options)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise rows by their own moments in training, else by the moving averages."""
        if not training or mask is not None or len(inputs.shape) != 2:
            return super().call(inputs, training=training, mask=mask)
        moments: list[Any] = []

        @tf.custom_gradient  # type: ignore[untyped-decorator]  # tensorflow is untyped
        def normalise(x: Any, gamma: Any, beta: Any) -> Any:
            n = tf.cast(tf.shape(x)[0], x.dtype)
            origin = tf.stop_gradient(tf.convert_to_tensor(self.moving_mean))
            shifted = x - origin
            first = tf.reduce_sum(shifted, 0) / n
            variance = tf.nn.relu(tf.reduce_sum(shifted * shifted, 0) / n - tf.square(first))
            mean, inverse = origin + first, tf.math.rsqrt(variance + self.epsilon)
            moments[:] = [mean, variance]

            def gradient(dy: Any) -> tuple[Any, Any, Any]:
                centred = x - mean
                d_beta = tf.reduce_sum(dy, 0)
                d_gamma = tf.reduce_sum(dy * centred, 0) * inverse
                dx = gamma * inverse * (dy - d_beta / n - centred * (inverse * d_gamma / n))
                return dx, d_gamma, d_beta

            return (x - mean) * (inverse * gamma) + beta, gradient

        outputs = normalise(
            inputs, tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        )
        for moving, value in zip((self.moving_mean, self.moving_variance), moments, strict=True):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return outputs


class Dropout(keras.layers.Dropout):  # type: ignore[misc]  # keras is untyped
    """Dropout whose random numbers are a hash of the position and of the number of calls.

    The random generator of TensorFlow takes half of the time of a training step once XLA has
    compiled the step for a CPU.  A hash of a counter with two multiplications (lowbias32 of
    C. Wellons, "Prospecting for hash functions", 2018) is random enough for this purpose, needs no
    memory, and is the same on every device.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Dropout(0.25, seed=1)
    >>> ones = np.ones((1000, 8), np.float32)
    >>> bool(0.7 < np.mean(np.asarray(layer(ones, training=True)) > 0) < 0.8)
    True
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Set random entries of the input to zero if `training`; if not, change nothing."""
        if not training or not self.rate:
            return inputs
        seed, count = tf.unstack(tf.cast(self.seed_generator.next(), tf.uint32))
        # Two keys for each run: the start in the table of hashes, and its odd stride.
        start = _hash(seed ^ _hash(count))
        stride = _hash(start + _uint32(0x9E3779B9)) | _uint32(1)
        shape = tf.shape(inputs)
        width = tf.cast(tf.reduce_prod(shape[1:]), tf.uint32)
        row = tf.cast(tf.range(shape[0]), tf.uint32)
        column = tf.cast(tf.range(tf.reduce_prod(shape[1:])), tf.uint32)
        counter = tf.reshape(row[:, None] * width + column, shape)
        keep = _hash(counter * stride + start) >= _uint32(round(self.rate * 2**32))
        return tf.where(keep, inputs / (1 - self.rate), tf.zeros_like(inputs))


def _uint32(value: int) -> Any:
    return tf.constant(value, tf.uint32)


def _hash(x: Any) -> Any:
    """A permutation of 32-bit numbers in which every bit of the input moves every bit."""
    shift = tf.bitwise.right_shift
    x = (x ^ shift(x, _uint32(16))) * _uint32(0x7FEB352D)
    x = (x ^ shift(x, _uint32(15))) * _uint32(0x846CA68B)
    return x ^ shift(x, _uint32(16))
