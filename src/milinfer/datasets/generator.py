"""Event generation: production, decay and cuts, in chunks so that workers change nothing."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.phase_space import JET_PT, boost
from milinfer.datasets.sampling import decay_channel, production_channel
from milinfer.exceptions import ParameterError, SampleError
from milinfer.typing import BoolArray, FloatArray, IntArray, Point

__all__ = ["generate", "passes_cuts"]

LEPTON_PT, LEPTON_ETA, DELTA_R = 10.0, 2.5, 0.4
HIGGS_WIDTH = 4.07e-3  # GeV
_CHUNK = 5_000
_BATCH = 8_192
_IDS = {
    "W": np.array([25, 24, -24, -11, 12, 11, -12]),
    "Z": np.array([25, 23, 23, -11, 11, 12, -12]),
}


class _Chunk(NamedTuple):
    momenta: FloatArray
    pdg_ids: IntArray
    coefficients: FloatArray
    tried: int
    passed: int
    overshoot: float


def generate(
    process: str,
    boson: Literal["W", "Z"],
    n_events: int,
    point: Point,
    seed: int,
    workers: int,
) -> GeneratedEvents:
    """Generate unweighted events after cuts; see :mod:`milinfer.datasets.vbf_hww`.

    Raises
    ------
    SampleError
        If fewer than one event is asked for.
    """
    if n_events < 1:
        msg = f"cannot generate {n_events} events; ask for at least one"
        raise SampleError(msg)
    c = point.get("c_HW", 0.0)
    n_chunks = -(-n_events // _CHUNK)
    seeds = np.random.SeedSequence(seed).spawn(n_chunks)
    sizes = [min(_CHUNK, n_events - k * _CHUNK) for k in range(n_chunks)]
    if workers > 1 and n_chunks > 1:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, n_chunks), mp_context=context) as pool:
            chunks = list(
                pool.map(_chunk, [boson] * n_chunks, sizes, [c] * n_chunks, seeds, chunksize=4)
            )
    else:
        chunks = [_chunk(boson, size, c, s) for size, s in zip(sizes, seeds, strict=True)]
    tried, passed = sum(k.tried for k in chunks), sum(k.passed for k in chunks)
    acceptance = passed / tried
    sigma, sigma_error = production_channel().integral(c)
    width, width_error = decay_channel(boson).integral(c)
    # Three neutrino flavours are counted for ν ν̄; one is generated, they look alike.
    flavours = 3 if boson == "Z" else 1
    cross_section = sigma * flavours * width / HIGGS_WIDTH * acceptance
    relative = np.sqrt(
        (sigma_error / sigma) ** 2 + (width_error / width) ** 2 + (1 - acceptance) / passed
    )
    return GeneratedEvents(
        np.concatenate([k.momenta for k in chunks]),
        np.concatenate([k.pdg_ids for k in chunks]),
        np.concatenate([k.coefficients for k in chunks]),
        cross_section,
        float(cross_section * relative),
        dict(point),
        process,
        seed,
        float(np.mean([k.overshoot for k in chunks])),
    )


def check_point(point: Point | None) -> dict[str, float]:
    """The point with c_HW filled in.

    Raises
    ------
    ParameterError
        If it has another parameter, or |c_HW| > 5, beyond what the sampling was explored for.

    Examples
    --------
    >>> check_point(None)
    {'c_HW': 0.0}
    """
    given = {"c_HW": 0.0} if point is None else dict(point)
    if set(given) != {"c_HW"} or not abs(given["c_HW"]) <= 5:
        msg = f"{given} is not a point of this process; give c_HW between -5 and 5"
        raise ParameterError(msg)
    return given


def passes_cuts(momenta: FloatArray) -> BoolArray:
    """Cuts on two charged leptons and two jets.

    Parameters
    ----------
    momenta
        [px, py, pz, E] of the two leptons and the two jets, shape (n, 4, 4), massless.

    Returns
    -------
    ndarray
        Shape (n,): pT > 10 GeV and |η| < 2.5 for leptons, pT > 20 GeV for jets, ΔR > 0.4 among
        all (|η| < 5 holds for jets as generated).

    Examples
    --------
    >>> import numpy as np
    >>> passes_cuts(np.zeros((1, 4, 4)))
    array([False])
    """
    pt = np.hypot(momenta[..., 0], momenta[..., 1])
    safe = np.maximum(pt, 1e-9)
    eta = np.arcsinh(momenta[..., 2] / safe)
    phi = np.arctan2(momenta[..., 1], momenta[..., 0])
    ok: BoolArray = np.asarray(
        (pt[:, :2] > LEPTON_PT).all(1)
        & (np.abs(eta[:, :2]) < LEPTON_ETA).all(1)
        & (pt[:, 2:] > JET_PT).all(1)
    )
    for i in range(4):
        for j in range(i):
            d_phi = np.remainder(phi[:, i] - phi[:, j] + np.pi, 2 * np.pi) - np.pi
            ok &= np.hypot(eta[:, i] - eta[:, j], d_phi) > DELTA_R
    return ok


def _chunk(boson: Literal["W", "Z"], size: int, c: float, seed: np.random.SeedSequence) -> _Chunk:
    rng = np.random.default_rng(seed)
    kept: list[tuple[FloatArray, IntArray, FloatArray]] = []
    found = tried = passed = 0
    overshoot = 0.0
    while found < size:
        n = min(_BATCH, 3 * (size - found) + 100)
        produced, p_coefficients, p_over = production_channel().unweighted(n, c, rng)
        decayed, d_coefficients, d_over = decay_channel(boson).unweighted(n, c, rng)
        momenta, ids = _assemble(_rotate(produced, rng), _isotropic(decayed, rng), boson, rng)
        leptons = [5, 7] if boson == "W" else [5, 6]
        ok = np.flatnonzero(passes_cuts(momenta[:, [*leptons, 9, 10]]))
        tried, passed = tried + n, passed + len(ok)
        ok = ok[: size - found]
        found += len(ok)
        coefficients = _product(p_coefficients[ok], d_coefficients[ok], boson)
        kept.append((momenta[ok], ids[ok], coefficients))
        overshoot = max(overshoot, p_over + d_over)
    momenta, ids, coefficients = (np.concatenate(x) for x in zip(*kept, strict=True))
    return _Chunk(momenta, ids, coefficients, tried, passed, overshoot)


def _product(p: FloatArray, d: FloatArray, boson: str) -> FloatArray:
    """Quartic of |M(c)|²/|M(0)|² from the two quadratics, shape (n, 5)."""
    out = np.zeros((len(p), 5))
    if boson == "Z":  # no operator in this process
        out[:, 0] = 1.0
        return out
    p, d = p / p[:, :1], d / d[:, :1]
    for i in range(3):
        for j in range(3):
            out[:, i + j] += p[:, i] * d[:, j]
    return out


def _rotate(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Random azimuth, and for half of the events a half-turn about x, which swaps the beams."""
    phi = 2 * np.pi * rng.random(len(p))[:, None]
    cos, sin = np.cos(phi), np.sin(phi)
    swap = np.where(rng.random(len(p)) < 0.5, -1.0, 1.0)[:, None]
    energy, x, y, z = np.moveaxis(p, -1, 0)
    y, z = swap * y, swap * z
    return np.stack([energy, cos * x - sin * y, sin * x + cos * y, z], axis=-1)


def _isotropic(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Rotate each event at random: H has no spin."""
    q = rng.normal(size=(len(p), 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return np.concatenate([p[..., :1], np.einsum("ijn,nkj->nki", rotation, p[..., 1:])], axis=-1)


def _assemble(
    produced: FloatArray, decayed: FloatArray, boson: str, rng: np.random.Generator
) -> tuple[FloatArray, IntArray]:
    """Particle list in LHE order, [px, py, pz, E]; beam 1 is the parton with positive pz."""
    leptons = boost(decayed, produced[:, 4])
    first, second = leptons[:, 0] + leptons[:, 1], leptons[:, 2] + leptons[:, 3]
    u_first = produced[:, 0, 3] > 0
    beams = np.where(u_first[:, None, None], produced[:, [0, 1]], produced[:, [1, 0]])
    everything = np.concatenate(
        [
            beams,
            produced[:, 4:5],
            first[:, None],
            second[:, None],
            leptons,
            produced[:, [2, 3]],
        ],
        axis=1,
    )
    ids = np.empty((len(produced), 11), dtype=np.int64)
    ids[:, 0], ids[:, 1] = np.where(u_first, 2, 1), np.where(u_first, 1, 2)
    ids[:, 2:9] = _IDS[boson]
    ids[:, 9], ids[:, 10] = 1, 2
    if boson == "Z":  # all three neutrino flavours alike
        flavour = np.array([12, 14, 16])[rng.integers(3, size=len(ids))]
        ids[:, 7], ids[:, 8] = flavour, -flavour
    return everything[..., [1, 2, 3, 0]], ids
