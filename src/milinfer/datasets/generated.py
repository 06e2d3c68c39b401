"""Hold generated events with their exact likelihood ratio, and convert them to LHE and samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from milinfer.datasets.operators import check_operators
from milinfer.exceptions import ParameterError, SampleError
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.points import format_point, point_id
from milinfer.utils.polynomials import PolynomialBasis, point_array

if TYPE_CHECKING:
    from milinfer.features.feature_set import FeatureSet
    from milinfer.io.event_record.info import LHEInfo
    from milinfer.samples.sample import Sample

__all__ = ["CrossSectionRatio", "GeneratedEvents"]

# LHE particle list: two incoming, H, two bosons, four leptons, two quarks.
_STATUS = np.array([-1, -1, 2, 2, 2, 1, 1, 1, 1, 1, 1])
_MOTHERS = np.array(
    [[0, 0], [0, 0], [1, 2], [3, 3], [3, 3], [4, 4], [4, 4], [5, 5], [5, 5], [1, 2], [1, 2]]
)


class CrossSectionRatio(NamedTuple):
    """Coefficients of the quartic σ(θ)/σ(θ_gen) in `GeneratedEvents.basis`, with covariance."""

    coefficients: FloatArray
    covariance: FloatArray


@dataclass(frozen=True, eq=False)
class GeneratedEvents:
    """Unweighted parton-level events with the exact dependence of ``|M|²`` on the operators.

    Parameters
    ----------
    momenta
        [px, py, pz, E] in GeV of the two incoming partons, H, its two bosons, the four leptons and
        the two quarks, shape (n, 11, 4).
    pdg_ids
        PDG ids of these particles, shape (n, 11).
    coefficients
        Coefficients of the joint likelihood ratio ``|M(θ)|²/|M(0)|²`` in the monomials of
        :attr:`basis`, shape (n, n_monomials).  For one operator c the ratio is Σ_j a_j c^j with
        a_0 = 1.  For a background, only a_0 is not zero.
    cross_section, cross_section_error
        Cross-section after all cuts, and its error, in pb.
    point
        Parameter point of the generation, with a value for each operator of `coefficients`; empty
        for a background.
    process
        Name of the process.
    seed
        Random seed of the generation.
    overshoot
        Fraction of the cross-section that is above the maximum weight of the unweighting.  The
        sample includes this fraction, because some production or decay points are used more than
        once.

    Examples
    --------
    >>> from milinfer.datasets import vbf_hww
    >>> events = vbf_hww.generate(100, {"c_HW": 0.5}, seed=1)
    >>> len(events), float(events.joint_ratio(0.0)[0])
    (100, 1.0)
    """

    momenta: FloatArray
    pdg_ids: IntArray
    coefficients: FloatArray
    cross_section: float
    cross_section_error: float
    point: Point
    process: str
    seed: int
    overshoot: float = 0.0

    def __len__(self) -> int:
        return len(self.momenta)

    @property
    def operators(self) -> tuple[str, ...]:
        """Names of the operators of `coefficients`; none for a background."""
        return tuple(self.point)

    @property
    def basis(self) -> PolynomialBasis:
        """Monomials of `coefficients`; the monomials of c_HW for a background."""
        return PolynomialBasis(check_operators(self.operators or None), 4)

    def joint_ratio(self, point: Point | float) -> FloatArray:
        r"""Compute ``|M(θ)|²/|M(0)|²`` of each event, shape (n,).

        The ratio is not divided by the ratio of the cross-sections.

        Parameters
        ----------
        point
            Values of all :attr:`operators`, or a number if there is one operator.

        Raises
        ------
        ParameterError
            If the point does not have the parameters of the events.

        Examples
        --------
        >>> from milinfer.datasets import vbf_hww
        >>> events = vbf_hww.generate(5, {"c_HW": 0.0, "c_HWtil": 1.0}, seed=1)
        >>> events.joint_ratio({"c_HW": 0.0, "c_HWtil": 0.0})
        array([1., 1., 1., 1., 1.])
        """
        basis = self.basis
        if not isinstance(point, Mapping):
            if len(basis.parameters) > 1:
                msg = f"these events have {', '.join(basis.parameters)}; give a value of each"
                raise ParameterError(msg)
            point = {basis.parameters[0]: point}
        elif not point and not self.point:
            point = {"c_HW": 0.0}
        design = basis.design(point_array(basis.parameters, point))
        ratio: FloatArray = self.coefficients @ design[0]
        return ratio

    def _at_generation(self) -> FloatArray:
        return self.joint_ratio(self.point)

    def cross_section_ratio(self) -> CrossSectionRatio:
        """Compute σ(θ)/σ(θ_gen) and its statistical covariance from the coefficients of events."""
        ratios = self.coefficients / self._at_generation()[:, None]
        return CrossSectionRatio(ratios.mean(axis=0), np.cov(ratios.T) / len(self))

    def take(self, index: IntArray | slice) -> GeneratedEvents:
        """Select events by index or slice."""
        return dataclasses.replace(
            self,
            momenta=self.momenta[index],
            pdg_ids=self.pdg_ids[index],
            coefficients=self.coefficients[index],
        )

    @staticmethod
    def concatenate(parts: Sequence[GeneratedEvents]) -> GeneratedEvents:
        """Join events of one process and point.

        Raises
        ------
        SampleError
            If process or point differ.
        """
        first = parts[0]
        if any(p.process != first.process or p.point != first.point for p in parts):
            msg = f"cannot join events of {[(p.process, dict(p.point)) for p in parts]}"
            raise SampleError(msg)
        return dataclasses.replace(
            first,
            momenta=np.concatenate([p.momenta for p in parts]),
            pdg_ids=np.concatenate([p.pdg_ids for p in parts]),
            coefficients=np.concatenate([p.coefficients for p in parts]),
        )

    def to_events(self, weights: Sequence[Point] | Mapping[str, Point] = ()) -> tuple[Any, LHEInfo]:
        """Convert to event records and a header, as :func:`milinfer.io.lhe.read` returns them.

        Every event has the cross-section in pb as its weight, so that the mean of the weights is
        the cross-section (IDWTUP = −4).

        Parameters
        ----------
        weights
            Points θ for further weights of each event, genWeight · ``|M(θ)|²/|M(θ_gen)|²``.  Each
            point contains all operators of the events.  If `weights` is a mapping, its keys are the
            ids of the weights; if it is a list, :func:`milinfer.utils.points.point_id` makes the
            ids.

        Raises
        ------
        ParameterError
            If a point does not have the parameters of the events, or if the process has no
            parameters.
        """
        from milinfer.io.event_record.info import LHEInfo, LHEProcess, LHEWeight
        from milinfer.io.event_record.record import make_events

        named = weights if isinstance(weights, Mapping) else {point_id(p): p for p in weights}
        self._require_operators(named)
        at_generation = self._at_generation()
        n, k = self.pdg_ids.shape
        columns = {
            "px": self.momenta[..., 0],
            "py": self.momenta[..., 1],
            "pz": self.momenta[..., 2],
            "energy": self.momenta[..., 3],
            "mass": self._masses(),
            "pdgId": self.pdg_ids,
            "status": np.broadcast_to(_STATUS, (n, k)),
            "mother1": np.broadcast_to(_MOTHERS[:, 0], (n, k)),
            "mother2": np.broadcast_to(_MOTHERS[:, 1], (n, k)),
            **self._colours(),
            "lifetime": np.zeros((n, k)),
            # Massless left-handed fermions; intermediate bosons have no helicity.
            "spin": np.where(np.abs(self.pdg_ids) > 20, 0.0, -np.sign(self.pdg_ids)),
        }
        scale = self.momenta[:, 2, 3] ** 2 - np.sum(self.momenta[:, 2, :3] ** 2, axis=1)
        events = make_events(
            np.full(n, k),
            {name: np.ascontiguousarray(column).reshape(-1) for name, column in columns.items()},
            {
                "genWeight": np.full(n, self.cross_section),
                "LHE_processId": np.ones(n, dtype=np.int32),
                "LHE_scale": np.sqrt(scale),
                "LHE_alphaQED": np.full(n, 1 / 132.2),
                "LHE_alphaQCD": np.full(n, 0.1),
            },
            {
                name: self.cross_section * self.joint_ratio(point) / at_generation
                for name, point in named.items()
            },
        )
        info = LHEInfo(
            processes=(
                LHEProcess(self.cross_section, self.cross_section_error, self.cross_section, 1),
            ),
            weighting_strategy=-4,
            weights=tuple(LHEWeight(name, format_point(p)) for name, p in named.items()),
            process=self.process,
            point=dict(self.point) if self.point else None,
        )
        return events, info

    def to_sample(
        self,
        features: str | FeatureSet = "vbf_2l2j_invariant",
        weights: Sequence[Point] | Mapping[str, Point] = (),
    ) -> Sample:
        """Compute the features of the events and make a sample, without writing files.

        Parameters
        ----------
        features
            As for :func:`milinfer.features.feature_set`.
        weights
            Points for further weights of each event, as for :meth:`to_events`.

        Raises
        ------
        ParameterError
            If a point does not have the parameters of the events, or if the process has no
            parameters.

        Examples
        --------
        >>> from milinfer.datasets import vbf_hww
        >>> vbf_hww.generate(10, {"c_HW": 0.5}, seed=1).to_sample("vbf_2l2j")
        Sample(10 events, 36 features, vbf_hww at c_HW=0.5)
        """
        from milinfer.features.feature_set import feature_set
        from milinfer.samples.sample import Sample

        events, _ = self.to_events(weights)
        table = feature_set(features).from_lhe(events)
        at_generation = self._at_generation()
        points = weights if isinstance(weights, Mapping) else {point_id(p): p for p in weights}
        return Sample(
            table.array,
            table.names,
            point=dict(self.point),
            process=self.process,
            cross_section=self.cross_section,
            cross_section_error=self.cross_section_error,
            reweights={k: self.joint_ratio(p) / at_generation for k, p in points.items()},
            reweight_points=dict(points),
            provenance={"generator": f"milinfer.datasets.{self.process}", "seed": self.seed},
        )

    def _require_operators(self, named: Mapping[str, Point]) -> None:
        """Raise unless the points of weights have the operators of the events."""
        for point in named.values():
            if not self.point or set(point) != set(self.point):
                has = "has no parameter"
                if self.point:
                    has = (
                        f"has only {', '.join(self.operators)} in these events, and a weight needs "
                        "a value of each; generate events at a point with all operators you need"
                    )
                msg = f"no weights at {format_point(point)}: {self.process} {has}"
                raise ParameterError(msg)

    def _masses(self) -> FloatArray:
        """On-shell masses as they were generated: zero for fermions, √p² for bosons."""
        p = self.momenta
        square = p[..., 3] ** 2 - np.sum(p[..., :3] ** 2, axis=-1)
        return np.where(np.abs(self.pdg_ids) > 20, np.sqrt(np.maximum(square, 0.0)), 0.0)

    def _colours(self) -> dict[str, IntArray]:
        """Colour flows straight through from each incoming to its outgoing quark."""
        color1 = np.zeros(self.pdg_ids.shape, dtype=np.int64)
        # u turns into d and d into u: the outgoing quark with the line of the other flavour.
        color1[:, 0], color1[:, 1] = 501, 502
        from_first = self.pdg_ids[:, 9] != self.pdg_ids[:, 0]
        color1[:, 9] = np.where(from_first, 501, 502)
        color1[:, 10] = np.where(from_first, 502, 501)
        return {"color1": color1, "color2": np.zeros_like(color1)}
