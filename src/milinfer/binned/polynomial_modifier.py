r"""Modifier of pyhf that multiplies each bin by a polynomial in free parameters.

pyhf can build models with modifiers from other packages: ``pyhf.Model(spec, validate=False,
modifier_set=polynomial_modifiers())``.  ``validate=False`` is needed because pyhf's schema knows
only the modifiers of HistFactory.  In the specification of a sample the modifier is written as ::

    {"name": "eft", "type": "polynomial", "data": {
        "monomials": ["1", "c_HW", "c_HW^2"],
        "scaling": [[1.0, 1.0], [0.2, 0.4], [0.1, 0.1]]}}

with one row for each monomial and one number for each bin: the nominal content of bin b is
multiplied by :math:`\sum_k s_{kb}\, m_k(\theta)`.  The names of the parameters are those in the
monomials, and all modifiers share these parameters.  The parameters are free, start at 0 and have
the bounds −10 and 10.  As for any parameter of pyhf, the measurement can set another start and
other bounds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from milinfer.binned.polynomial_histogram import monomial_parameters, monomial_powers
from milinfer.exceptions import WorkspaceError
from milinfer.typing import FloatArray
from milinfer.utils.json_fields import array_field, list_field, text_field

__all__ = [
    "POLYNOMIAL",
    "Terms",
    "histfactory_part",
    "polynomial_modifiers",
    "polynomial_terms",
]

POLYNOMIAL = "polynomial"
"""Type of the modifier in a workspace."""

Terms: TypeAlias = tuple[tuple[str, ...], FloatArray]
"""Monomials, and their scaling of shape (n_monomials, n_bins)."""


def polynomial_modifiers() -> dict[str, tuple[type, type]]:
    """Return pyhf's modifiers with the polynomial modifier, for ``pyhf.Model(…, modifier_set=…)``.

    The polynomial modifier multiplies each bin by a polynomial in free parameters; see
    :mod:`milinfer.binned.polynomial_modifier`.

    Examples
    --------
    >>> import pyhf
    >>> data = {"monomials": ["1", "c", "c^2"], "scaling": [[1.0, 1.0], [0.0, 0.5], [1.0, 0.0]]}
    >>> model = pyhf.Model({"channels": [{"name": "SR", "samples": [{
    ...     "name": "signal", "data": [10.0, 20.0], "modifiers": [
    ...         {"name": "eft", "type": "polynomial", "data": data}]}]}]},
    ...     poi_name="c", validate=False, modifier_set=polynomial_modifiers())
    >>> model.config.par_names, model.expected_data([2.0])
    (['c'], array([50., 40.]))
    """
    import pyhf

    # First, as pyhf lists parameters in the order of the modifiers.
    return {POLYNOMIAL: (_Builder, _Combined), **pyhf.modifiers.histfactory_set}


def polynomial_terms(data: Any, n_bins: int) -> Terms:
    """Read monomials and scaling, shape (n_monomials, n_bins), from the data of a modifier.

    Raises
    ------
    ValueError
        If a field is missing or has the wrong form.  The message names the field.

    Examples
    --------
    >>> polynomial_terms({"monomials": ["1", "c"], "scaling": [[1.0], [0.5]]}, 1)
    (('1', 'c'), array([[1. ], [0.5]]))
    """
    if not isinstance(data, Mapping) or set(data) != {"monomials", "scaling"}:
        msg = "its data must be an object with the lists monomials and scaling"
        raise ValueError(msg)
    monomials = tuple(
        text_field("a monomial", m) for m in list_field("monomials", data["monomials"])
    )
    powers = [frozenset(monomial_powers(m).items()) for m in monomials]
    if not powers or len(set(powers)) < len(powers):
        msg = f"the monomials {[*monomials]} must be at least one, and all different"
        raise ValueError(msg)
    return monomials, array_field("scaling", data["scaling"], (len(monomials), n_bins))


def histfactory_part(spec: Any) -> Any:
    """Replace polynomial modifiers by ``normfactor``, so that HistFactory's schema can be checked.

    A workspace without polynomial modifiers is returned itself, a workspace with them is copied.
    Parts that do not have the form of a workspace are left as they are.

    Examples
    --------
    >>> sample = {"name": "s", "modifiers": [{"name": "eft", "type": "polynomial", "data": {}}]}
    >>> histfactory_part({"channels": [{"samples": [sample]}]})["channels"][0]["samples"]
    [{'name': 's', 'modifiers': [{'name': 'eft', 'type': 'normfactor', 'data': None}]}]
    """
    if not any(True for _ in _polynomials(spec)):
        return spec
    changed = copy.deepcopy(spec)
    for modifier in _polynomials(changed):
        modifier |= {"type": "normfactor", "data": None}
    return changed


def _polynomials(spec: Any) -> Iterator[dict[str, Any]]:
    """All modifiers of the type ``polynomial``."""

    def items(parent: Any, key: str) -> list[Any]:
        found = parent.get(key) if isinstance(parent, dict) else None
        return found if isinstance(found, list) else []

    for channel in items(spec, "channels"):
        for sample in items(channel, "samples"):
            for modifier in items(sample, "modifiers"):
                if isinstance(modifier, dict) and modifier.get("type") == POLYNOMIAL:
                    yield modifier


class _Builder:
    """Collect the modifiers of all samples; the interface is that of pyhf's builders."""

    is_shared = True

    def __init__(self, config: Any) -> None:
        self.config = config
        self.builder_data: dict[str, dict[str, list[Terms]]] = {}
        self.required_parsets: dict[str, list[dict[str, Any]]] = {}

    def append(
        self,
        key: str,
        channel: str,
        sample: str,
        thismod: Mapping[str, Any] | None,
        defined_samp: Mapping[str, Any] | None,  # noqa: ARG002 - pyhf gives it
    ) -> None:
        """Add one sample of one channel; the channels come in the order of the bins."""
        n_bins = self.config.channel_nbins[channel]
        terms: Terms = (("1",), np.ones((1, n_bins)))
        if thismod is not None:
            try:
                terms = polynomial_terms(thismod["data"], n_bins)
            except ValueError as error:
                msg = (
                    f"channel {channel}, sample {sample}: modifier {thismod['name']} "
                    f"({POLYNOMIAL}): {error}; export the histogram again"
                )
                raise WorkspaceError(msg) from error
            for name in monomial_parameters(terms[0]):
                self.required_parsets[name] = [
                    {
                        "paramset_type": "unconstrained",
                        "n_parameters": 1,
                        "is_scalar": True,
                        "inits": (0.0,),
                        "bounds": ((-10.0, 10.0),),
                        "fixed": False,
                    }
                ]
        self.builder_data.setdefault(key, {}).setdefault(sample, []).append(terms)

    def finalize(self) -> dict[str, dict[str, list[Terms]]]:
        """Return everything that was collected."""
        return self.builder_data


class _Combined:
    """Factors of all bins and samples at once; the interface is that of pyhf's appliers."""

    name = POLYNOMIAL
    op_code = "multiplication"

    def __init__(
        self,
        modifiers: Sequence[tuple[str, str]],
        pdfconfig: Any,
        builder_data: Mapping[str, Mapping[str, Sequence[Terms]]],
        batch_size: int | None = None,
    ) -> None:
        import pyhf

        self.batch_size = batch_size
        keys = [f"{kind}/{name}" for name, kind in modifiers]
        every = [t for key in keys for parts in builder_data[key].values() for t in parts]
        monomials = list(dict.fromkeys(m for labels, _ in every for m in labels))
        powers = [monomial_powers(m) for m in monomials]
        parameters = monomial_parameters(monomials)
        place = {m: k for k, m in enumerate(monomials)}
        scaling = np.zeros((len(keys), len(pdfconfig.samples), len(monomials), pdfconfig.nmaindata))
        for i, key in enumerate(keys):
            for j, sample in enumerate(pdfconfig.samples):
                first = 0
                for labels, values in builder_data[key][sample]:
                    last = first + values.shape[1]
                    scaling[i, j, [place[m] for m in labels], first:last] = values
                    first = last
        # A monomial is a product of entries of (1, θ1, θ2, …), so that no power is taken: that is
        # the same for all tensor libraries, and its derivative exists at 0.
        longest = max([1, *(sum(each.values()) for each in powers)])
        factors = np.zeros((len(monomials), longest), dtype=np.int64)
        for k, each in enumerate(powers):
            entries = [1 + parameters.index(n) for n, power in each.items() for _ in range(power)]
            factors[k, : len(entries)] = entries
        self._arrays = (
            scaling.tolist(),
            factors.tolist(),
            [pdfconfig.par_map[name]["slice"].start for name in parameters],
        )
        self._empty = not keys
        self._precompute()
        pyhf.events.subscribe("tensorlib_changed")(self._precompute)

    def _precompute(self) -> None:
        """Make tensors of the library that pyhf uses now."""
        import pyhf

        if self._empty:
            return
        tensorlib, _ = pyhf.get_backend()
        scaling, factors, parameters = self._arrays
        self._scaling = tensorlib.astensor(scaling)
        self._factors = tensorlib.astensor(factors, dtype="int")
        self._parameters = tensorlib.astensor(parameters, dtype="int")
        self._one = tensorlib.ones((1, self.batch_size or 1))

    def apply(self, pars: Any) -> Any:
        """Factors at the parameters, shape (n_modifiers, n_samples, n_batch, n_bins)."""
        import pyhf

        if self._empty:
            return None
        tensorlib, _ = pyhf.get_backend()
        by_parameter = (
            tensorlib.reshape(pars, (-1, 1))
            if self.batch_size is None
            else tensorlib.einsum("ij->ji", pars)
        )
        values = tensorlib.gather(by_parameter, self._parameters)
        entries = tensorlib.concatenate([self._one, values])
        monomials = tensorlib.product(tensorlib.gather(entries, self._factors), axis=1)
        return tensorlib.einsum("ka,mskb->msab", monomials, self._scaling)
