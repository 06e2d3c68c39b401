r"""A Gaussian signal and background with nuisance parameters, and their exact likelihood.

.. math:: \text{signal: } x \sim N(\mu + 0.3\,\alpha_1,\; (1 + 0.1\,\alpha_2)^2),\qquad
          \text{background: } x \sim N(2 + 0.2\,\alpha_1,\; 1.5^2)

The nuisance parameters are α1 (``shift``), α2 (``width``) and α3 (``rate``).  The yield of the
signal is multiplied by exp(0.05 α3).  Each nuisance parameter has an auxiliary measurement
a ~ N(α, 1), which is 0 in data.  There is no selection, so that ``shift`` and ``width`` do not
change yields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ConfigurationError, ParameterError
from milinfer.likelihood.named_cost import UnbinnedCost
from milinfer.samples.argument_checks import require_sample
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray, Point, Seed
from milinfer.utils.display import ranges
from milinfer.utils.keywords import did_you_mean

__all__ = [
    "NUISANCES",
    "PARAMETERS",
    "PROCESSES",
    "GaussianCost",
    "dataset",
    "fisher_information",
    "generate",
    "log_density",
    "log_response",
    "yield_factor",
]

PROCESSES = ("signal", "background")
NUISANCES = ("shift", "width", "rate")
PARAMETERS = ("mu", "background_norm", *NUISANCES)
"""Parameters of the cost, in order."""

_BACKGROUND_MEAN, _BACKGROUND_WIDTH = 2.0, 1.5
_SHIFT = {"signal": 0.3, "background": 0.2}
_WIDTH, _RATE = 0.1, 0.05
_MAX_WIDTH = 9.0  # a standard deviation of 0.1 at -9


def generate(
    n_events: int,
    process: str = "signal",
    mu: float = 0.0,
    nuisances: Point | None = None,
    *,
    seed: Seed,
) -> Sample:
    """Generate events of one process at given values of μ and of the nuisance parameters.

    Parameters
    ----------
    n_events
        Number of events.
    process
        ``"signal"`` or ``"background"``; the background does not depend on μ.
    mu
        Mean μ of the nominal signal.
    nuisances
        Values of nuisance parameters, ``{"shift": value, …}``.  Those that are not given are 0.
    seed
        Random seed.  The random numbers do not depend on the parameters, so that two samples of the
        same seed contain the same events with different features.

    Returns
    -------
    Sample
        Events with the feature ``x0``.  The cross-section of the sample is :func:`yield_factor`.

    Raises
    ------
    ParameterError
        If the process or a nuisance parameter is unknown, or if a value is not allowed.

    Examples
    --------
    >>> generate(5, mu=0.5, nuisances={"shift": 1.0}, seed=1)
    Sample(5 events, 1 feature, signal at mu=0.5)
    >>> generate(5, "background", seed=1)
    Sample(5 events, 1 feature, background)
    """
    mean, width = _moments(process, mu, nuisances)
    x = mean + width * np.random.default_rng(seed).normal(size=(n_events, 1))
    return Sample(
        x.astype(np.float32),
        ("x0",),
        point={"mu": float(mu)} if process == "signal" else {},
        process=process,
        cross_section=yield_factor(process, nuisances),
        cross_section_error=0.0,
        provenance={
            "generator": "milinfer.datasets.gaussian_systematics",
            "seed": seed if isinstance(seed, int) else repr(seed),
            "nuisances": _values(nuisances),
        },
    )


def dataset(
    mu: float = 0.0,
    nuisances: Point | None = None,
    *,
    signal: float,
    background: float,
    background_norm: float = 1.0,
    seed: Seed,
) -> Sample:
    """Draw a dataset of signal and background with Poisson distributed numbers of events.

    Parameters
    ----------
    mu, nuisances
        As for :func:`generate`.
    signal, background
        Expected numbers of events at nominal values of the nuisance parameters.
    background_norm
        Factor on the expected number of background events.
    seed
        Random seed of the numbers of events and of the events.

    Examples
    --------
    >>> data = dataset(0.1, {"rate": 1.0}, signal=80, background=20, seed=1)
    >>> data.process, data.column("x0").shape == (len(data),)
    ('data', True)
    """
    rng = np.random.default_rng(seed)
    expected = {
        "signal": signal * yield_factor("signal", nuisances),
        "background": background * background_norm,
    }
    parts = [
        generate(int(rng.poisson(n)), process, mu, nuisances, seed=rng)
        for process, n in expected.items()
    ]
    return Sample(np.concatenate([p.features for p in parts]), ("x0",), process="data")


def log_density(
    x: ArrayLike, process: str = "signal", mu: float = 0.0, nuisances: Point | None = None
) -> FloatArray:
    """Compute the exact ln p(x|μ, α) of one process, with the shape of `x`.

    The logarithm of the ratio to the nominal signal is this value minus ``log_density(x)``.

    Examples
    --------
    >>> log_density([0.3], nuisances={"shift": 1.0}) == log_density([0.0])
    array([ True])
    """
    mean, width = _moments(process, mu, nuisances)
    pull = (np.asarray(x, dtype=np.float64) - mean) / width
    out: FloatArray = -0.5 * pull**2 - np.log(width) - 0.5 * np.log(2 * np.pi)
    return out


def log_response(
    x: ArrayLike, nuisances: Point, process: str = "signal", mu: float = 0.0
) -> FloatArray:
    """Compute the exact ln S(x; α), the logarithm of a ratio of differential yields.

    S is the differential yield at α divided by the differential yield at nominal values.  It
    contains both rate and shape: its mean over nominal events is :func:`yield_factor`.

    Examples
    --------
    >>> log_response([0.0, 1.0], {"rate": 1.0})
    array([0.05, 0.05])
    """
    shape = log_density(x, process, mu, nuisances) - log_density(x, process, mu)
    out: FloatArray = shape + np.log(yield_factor(process, nuisances))
    return out


def yield_factor(process: str, nuisances: Point | None = None) -> float:
    """Compute κ(α), the yield of a process at α divided by the yield at nominal values.

    Examples
    --------
    >>> round(yield_factor("signal", {"rate": 1.0, "shift": 1.0}), 4)
    1.0513
    >>> yield_factor("background", {"rate": 1.0})
    1.0
    """
    _require_process(process)
    rate = _values(nuisances)["rate"]
    return float(np.exp(_RATE * rate)) if process == "signal" else 1.0


def fisher_information(
    signal: float,
    background: float,
    *,
    mu: float = 0.0,
    background_constraint: float | None = None,
    constrained: bool = True,
) -> FloatArray:
    """Compute the exact Fisher information of a dataset at nominal nuisance parameters.

    It is computed by numerical integration.  For many events, the square root of a diagonal element
    of the inverse matrix is the error of the parameter with all other parameters profiled.

    Parameters
    ----------
    signal, background
        Expected numbers of events.
    mu
        Mean μ of the nominal signal.
    background_constraint
        Relative error of the measured normalisation of the background; None if it is not measured.
    constrained
        Whether the auxiliary measurements of the nuisance parameters are included.

    Returns
    -------
    ndarray
        Information matrix, shape (5, 5), in the order of :data:`PARAMETERS`.

    Examples
    --------
    >>> information = fisher_information(1000, 0)
    >>> round(information[0, 0]), round(information[0, 2])
    (1000, 300)
    """
    x = np.linspace(min(mu, 2.0) - 15, max(mu, 2.0) + 15, 6001)
    slopes = np.zeros((len(PARAMETERS), len(x)))
    density = np.zeros(len(x))
    if signal:
        signal_density = signal * np.exp(log_density(x, "signal", mu))
        pull = x - mu
        slopes[0] = signal_density * pull
        slopes[2] = _SHIFT["signal"] * slopes[0]
        slopes[3] = _WIDTH * signal_density * (pull**2 - 1)
        slopes[4] = _RATE * signal_density
        density += signal_density
    background_density = background * np.exp(log_density(x, "background"))
    slopes[1] = background_density
    pull = (x - _BACKGROUND_MEAN) / _BACKGROUND_WIDTH**2
    slopes[2] += _SHIFT["background"] * pull * background_density
    density += background_density
    inside = density > 0
    scaled = slopes[:, inside] / np.sqrt(density[inside])
    information: FloatArray = scaled @ scaled.T * (x[1] - x[0])
    if constrained:
        information[[2, 3, 4], [2, 3, 4]] += 1.0
    if background_constraint is not None:
        information[1, 1] += background_constraint**-2.0
    return information


class GaussianCost(UnbinnedCost):
    r"""Cost with the exact extended −2 ln L(μ, n_b, α) of a dataset, relative to nominal values.

    .. math:: -2\ln L = 2\Big[\nu_s e^{0.05\alpha_3} + n_b\nu_b
              - \sum_i w_i \ln \frac{d\nu}{dx}(x_i)\Big] + \sum_k (\alpha_k - a_k)^2
              + \frac{(n_b - a_b)^2}{\sigma_b^2}

    Here ν_s and ν_b are the expected numbers of signal and background events, n_b is the
    normalisation of the background, w_i are the weights of the events, and a_k and a_b are the
    auxiliary measurements of α_k and n_b.  A constant is subtracted, so that the cost is zero at
    μ = 0, n_b = 1, α = 0 if all auxiliary measurements are nominal.

    Parameters
    ----------
    data
        Events with the feature ``x0``; their weights are used.
    signal, background
        Expected numbers of events at nominal values.
    background_constraint
        Relative error σ_b of the measured normalisation of the background; None if it is not
        measured.
    measured
        Auxiliary measurements of nuisance parameters and of ``background_norm``.  In data, they are
        0 for a nuisance parameter and 1 for ``background_norm``.  In toys, they fluctuate.
    constrained
        Whether the cost contains the constraints of the nuisance parameters.  If several costs are
        added, only one of them should contain these constraints.

    Raises
    ------
    ConfigurationError
        If a yield is negative, if both yields are zero, or if σ_b is not positive.
    ParameterError
        If `measured` contains an unknown parameter.

    Examples
    --------
    >>> from iminuit import Minuit
    >>> data = dataset(0.1, signal=800, background=200, seed=1)
    >>> cost = GaussianCost(data, signal=800, background=200, background_constraint=0.1)
    >>> cost
    GaussianCost(1011 events, mu, background_norm in [0, inf], shift, width in [-9, 9], rate)
    >>> m = Minuit(cost, **cost.start).migrad()
    >>> m.valid, bool(abs(m.values["mu"] - 0.1) < 2 * m.errors["mu"])
    (True, True)
    """

    def __init__(
        self,
        data: Sample,
        *,
        signal: float,
        background: float,
        background_constraint: float | None = None,
        measured: Mapping[str, float] | None = None,
        constrained: bool = True,
    ) -> None:
        require_sample(data, "GaussianCost()")
        if not (signal >= 0 and background >= 0 and 0 < signal + background < np.inf):
            msg = (
                f"expected events signal={signal:g} and background={background:g} must be finite, "
                "not negative, and not both 0"
            )
            raise ConfigurationError(msg)
        if background_constraint is not None and not 0 < background_constraint < np.inf:
            msg = (
                f"background_constraint={background_constraint:g} must be positive, or None for a "
                "free normalisation"
            )
            raise ConfigurationError(msg)
        self.expected = (float(signal), float(background))
        self._x = data.column("x0").astype(np.float64)
        self._weights = data.weights
        self._precision = np.zeros(len(PARAMETERS))
        self._precision[2:] = float(constrained)
        if background_constraint is not None:
            self._precision[1] = background_constraint**-2.0
        nominal = dict.fromkeys(PARAMETERS, 0.0) | {"background_norm": 1.0}
        unknown = set(measured or {}) - {"background_norm", *NUISANCES}
        if unknown:
            msg = (
                f"measured= contains {sorted(unknown)}; give only auxiliary measurements of "
                f"background_norm, {', '.join(NUISANCES)}"
            )
            raise ParameterError(msg)
        self.start = nominal
        self._measured = np.array(list((nominal | dict(measured or {})).values()))
        at_start = np.array(list(nominal.values()))
        self._log_start = _log_sum(self._log_terms(at_start))
        super().__init__(
            dict.fromkeys(PARAMETERS)
            | {"background_norm": (0.0, np.inf), "width": (-_MAX_WIDTH, _MAX_WIDTH)},
            0,
        )

    def __repr__(self) -> str:
        return f"GaussianCost({self._weights.sum():g} events, {ranges(self._parameters)})"

    def _pulls(self, values: FloatArray) -> tuple[FloatArray, float, FloatArray]:
        """Pulls of the events as signal, the signal's width, and pulls as background."""
        mu, _, shift, width, _ = values
        deviation = 1 + _WIDTH * width
        if not deviation > 0:
            msg = f"width = {width:g} leaves no positive width; keep the limits of this cost"
            raise ParameterError(msg)
        first = (self._x - mu - _SHIFT["signal"] * shift) / deviation
        other = (self._x - _BACKGROUND_MEAN - _SHIFT["background"] * shift) / _BACKGROUND_WIDTH
        return first, deviation, other

    def _log_terms(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Ln dν/dx √2π of the signal, and of the background at a normalisation of one."""
        first, deviation, other = self._pulls(values)
        signal, background = (np.log(n) if n > 0 else -np.inf for n in self.expected)
        return (
            signal + _RATE * values[4] - 0.5 * first**2 - np.log(deviation),
            background - 0.5 * other**2 - np.log(_BACKGROUND_WIDTH),
        )

    def _value(self, args: Sequence[float]) -> float:
        values = np.array(args, dtype=np.float64)
        signal, background = self.expected
        log_density = _log_sum(self._log_terms(values), values[1]) - self._log_start
        grown = signal * np.expm1(_RATE * values[4]) + background * (values[1] - 1.0)
        pulls = values - self._measured
        constraints = np.sum(self._precision * pulls**2)
        return float(2 * (grown - self._weights @ log_density) + constraints)

    def _grad(self, args: Sequence[float]) -> FloatArray:
        values = np.array(args, dtype=np.float64)
        first, deviation, other = self._pulls(values)
        signal, background = self.expected
        of_signal, of_background = self._log_terms(values)
        log_density = _log_sum((of_signal, of_background), values[1])
        share = self._weights * np.exp(of_signal - log_density)
        per_norm = self._weights * np.exp(of_background - log_density)
        slope = share @ first / deviation
        slope_of_background = values[1] * (per_norm @ other) / _BACKGROUND_WIDTH
        log_slopes = np.array(
            [
                slope,
                per_norm.sum() - background,
                _SHIFT["signal"] * slope + _SHIFT["background"] * slope_of_background,
                _WIDTH * (share @ (first**2 - 1)) / deviation,
                _RATE * (share.sum() - signal * np.exp(_RATE * values[4])),
            ]
        )
        gradient: FloatArray = -2 * log_slopes + 2 * self._precision * (values - self._measured)
        return gradient


def _log_sum(terms: tuple[FloatArray, FloatArray], background_norm: float = 1.0) -> FloatArray:
    """Ln of the sum of signal and background, without underflow."""
    signal, background = terms
    log_norm = np.log(background_norm) if background_norm > 0 else -np.inf
    total: FloatArray = np.logaddexp(signal, background + log_norm)
    return total


def _require_process(process: str) -> None:
    if process not in PROCESSES:
        msg = f"there is no process {process!r}; there are {' and '.join(PROCESSES)}"
        raise ParameterError(msg + did_you_mean(process, PROCESSES))


def _values(nuisances: Point | None) -> dict[str, float]:
    """Values of all nuisance parameters."""
    given = {name: float(value) for name, value in (nuisances or {}).items()}
    for name, value in given.items():
        if name not in NUISANCES:
            msg = f"there is no nuisance parameter {name!r}; there are {', '.join(NUISANCES)}"
            raise ParameterError(msg + did_you_mean(name, NUISANCES))
        if not np.isfinite(value) or (name == "width" and not 1 + _WIDTH * value > 0):
            msg = f"{name} = {value:g} is not possible; give a finite value, width above -10"
            raise ParameterError(msg)
    return {name: given.get(name, 0.0) for name in NUISANCES}


def _moments(process: str, mu: float, nuisances: Point | None) -> tuple[float, float]:
    """Mean and standard deviation of x0."""
    _require_process(process)
    values = _values(nuisances)
    shift = _SHIFT[process] * values["shift"]
    if process == "background":
        return _BACKGROUND_MEAN + shift, _BACKGROUND_WIDTH
    return float(mu) + shift, 1 + _WIDTH * values["width"]
