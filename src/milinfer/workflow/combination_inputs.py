"""Read the inputs of a combination, check that they fit together, and add their costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
from iminuit import describe
from iminuit.cost import Cost, CostSum, NormalConstraint

from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.binned.workspace_export import import_workspace, workspace_morphings
from milinfer.binned.workspaces import read_workspace
from milinfer.exceptions import ConfigurationError, MilinferError
from milinfer.likelihood.auxiliary import AuxiliaryMeasurement
from milinfer.likelihood.published_cost import load_published
from milinfer.likelihood.renamed_cost import renamed
from milinfer.utils.display import shortened
from milinfer.utils.keywords import did_you_mean
from milinfer.workflow.combination_file import (
    CombinationFile,
    ConstraintSection,
    InputSection,
    LikelihoodSection,
    Role,
    WorkspaceSection,
)

__all__ = ["CombinationInput", "CombinationSum", "combination_sum", "read_input"]

# Two constraints are the same if measurement and error differ by less, in units of the error.
_SAME = 1e-6


@dataclass(frozen=True, eq=False)
class CombinationInput:
    """One input of a combination.

    Its parameters have the names that they have in the combination.

    Parameters
    ----------
    name
        Name of the input.
    kind
        Kind of input: likelihood, workspace or constraint.
    source
        File or folder of the input; empty for a constraint, because it is written in
        ``combination.toml``.
    cost
        −2 ln L of the input, with all constraints that it contains.
    roles
        Role of each parameter according to the input; None if the input does not say it.
    start
        Starting values for fits, for the parameters to which the input gives one.
    fixed
        Parameters that the input keeps at their starting values.
    units
        Units of the parameters, if known.
    renamed
        Mapping from names in the input to names in the combination, for the names that differ.
    inseparable
        Parameters whose constraint is in the input and cannot be left out.
    counted
        Parameters whose constraint is a count (Poisson), not Gaussian.
    calibrated_for
        The intervals for which the input is calibrated; empty: it is not calibrated.
    identity
        Object that is equal for two inputs if they have the same data.
    section
        Section of ``combination.toml`` that describes the input.
    """

    name: str
    kind: Literal["likelihood", "workspace", "constraint"]
    source: str
    cost: Cost
    roles: Mapping[str, Role | None]
    start: Mapping[str, float]
    fixed: tuple[str, ...]
    units: Mapping[str, str]
    renamed: Mapping[str, str]
    inseparable: tuple[str, ...]
    counted: tuple[str, ...]
    calibrated_for: tuple[str, ...]
    identity: object
    section: InputSection

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters in the combination."""
        return tuple(self.roles)

    @property
    def calibrated(self) -> bool:
        """Whether the input was calibrated by itself."""
        return bool(self.calibrated_for)

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Limits of each parameter, which may be infinite."""
        pairs = describe(self.cost, annotations=True)
        return {
            name: (-np.inf, np.inf) if pair is None else (float(pair[0]), float(pair[1]))
            for name, pair in pairs.items()
        }

    @property
    def constraints(self) -> dict[str, AuxiliaryMeasurement]:
        """Constraints that the input contains and that can be left out, by parameter."""
        return {c.name: c for c in getattr(self.cost, "constraints", ())}

    def __repr__(self) -> str:
        return f"CombinationInput({self.name}: {self.kind} of {shortened(self.parameters)})"


class CombinationSum(NamedTuple):
    """The sum of the costs of all inputs.

    Parameters
    ----------
    cost
        −2 ln L of all inputs together.  Its terms are sorted by the names of the inputs, so that
        the order in the file does not matter.
    roles
        Role of each parameter.
    left_out
        For each input, parameters whose constraint is taken from another input.
    alone
        −2 ln L of each input alone, with the constraints of its nuisance parameters.  Inputs that
        measure only nuisance parameters are left out.
    """

    cost: Cost
    roles: dict[str, Role]
    left_out: dict[str, tuple[str, ...]]
    alone: dict[str, Cost]


@contextmanager
def _of(file: CombinationFile, section: InputSection) -> Iterator[None]:
    """Add to an error the input that it comes from."""
    try:
        yield
    except MilinferError as error:
        source = f"{file.source}: " if file.source else ""
        msg = f"{source}the input {section.name}: {error}"
        raise type(error)(msg) from error


def read_input(file: CombinationFile, section: InputSection) -> CombinationInput:
    """Read one input and rename its parameters.

    Parameters
    ----------
    file, section
        Content of ``combination.toml``, and the section in it that describes the input.

    Raises
    ------
    MilinferError
        If the input cannot be read, or a name in `rename` is not one of its parameters.  The
        message names the file and the input.

    Examples
    --------
    >>> section = ConstraintSection(name="theory", parameters=["a"], mean=[0.0], error=[1.0],
    ...                             rename={"a": "b"})
    >>> read_input(CombinationFile(constraint=[section]), section)
    CombinationInput(theory: constraint of b)
    """
    with _of(file, section):
        if isinstance(section, LikelihoodSection):
            read = _likelihood(file, section)
        elif isinstance(section, WorkspaceSection):
            read = _workspace(file, section)
        else:
            assert isinstance(section, ConstraintSection)
            read = _constraint(section)
        rename = _of_bins(section.rename, list(read["roles"]))
        new = {name: rename.get(name, name) for name in read["roles"]}
        cost = renamed(read["cost"], rename)
        units = {new[name]: unit for name, unit in read["units"].items()}
        for name, unit in section.units.items():
            if name not in new.values():
                msg = f"units has {name}, but its parameters are {shortened(tuple(new.values()))}"
                raise ConfigurationError(msg + did_you_mean(name, new.values()))
            if units.setdefault(name, unit) != unit:
                msg = f"units says that {name} is in {unit!r}, but the file says {units[name]!r}"
                raise ConfigurationError(msg + "; remove it, or correct it")
    return CombinationInput(
        name=section.name,
        kind=read["kind"],
        source=str(read["source"]),
        cost=cost,
        roles={new[name]: role for name, role in read["roles"].items()},
        start={new[name]: x for name, x in read["start"].items()},
        fixed=tuple(new[name] for name in read["fixed"]),
        units=units,
        renamed={a: b for a, b in new.items() if a != b},
        inseparable=tuple(new[name] for name in read["inseparable"]),
        counted=tuple(new[name] for name in read["counted"]),
        calibrated_for=read["calibrated_for"],
        identity=read["identity"],
        section=section,
    )


def _of_bins(rename: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """New names of single parameters, of those too that a workspace has one of for each bin."""
    single: dict[str, str] = {}
    for old, new in rename.items():
        bins = [name for name in names if name.startswith(f"{old}[") and name.endswith("]")]
        if old in names or not bins:
            single[old] = new
        else:
            single |= {name: new + name.removeprefix(old) for name in bins}
    return single


def _likelihood(file: CombinationFile, section: LikelihoodSection) -> dict[str, Any]:
    path = file.path(section.path)
    # The notes of a combination say which of its intervals are not calibrated.
    cost = load_published(path).for_any_interval()
    return {
        "kind": "likelihood",
        "source": path,
        "cost": cost,
        "roles": cost.likelihood.roles,
        "start": cost.start,
        "fixed": cost.fixed,
        "units": {name: unit for name, unit in cost.likelihood.units.items() if unit is not None},
        "inseparable": cost.inseparable,
        "counted": (),
        "calibrated_for": tuple(str(made) for made in cost.calibrated_for),
        "identity": (cost.content["terms"], cost.content["files"]),
    }


def _workspace(file: CombinationFile, section: WorkspaceSection) -> dict[str, Any]:
    path = file.path(section.path)
    patch = None if section.patch is None else file.path(section.patch)
    content = read_workspace(path, patch=patch, signal=section.signal)
    read = import_workspace if workspace_morphings(content) else PyhfCost.from_workspace
    cost = read(content, measurement=section.measurement)
    facts = cost.parameter_facts
    return {
        "kind": "workspace",
        "source": path,
        "cost": cost,
        "roles": {name: fact.role for name, fact in facts.items()},
        "start": cost.start,
        "fixed": cost.fixed,
        "units": {},
        "inseparable": (),
        "counted": cost.counted,
        "calibrated_for": (),
        "identity": (dict(content), section.measurement),
    }


def _constraint(section: ConstraintSection) -> dict[str, Any]:
    return {
        "kind": "constraint",
        "source": "",
        "cost": _normal(section, section.parameters),
        "roles": dict.fromkeys(section.parameters),
        "start": {},
        "fixed": (),
        "units": {},
        "inseparable": (),
        "counted": (),
        "calibrated_for": (),
        "identity": section.name,
    }


def _normal(section: ConstraintSection, names: Sequence[str]) -> NormalConstraint:
    """The measurement of some of its parameters, with the names that it has in its section."""
    places = [section.parameters.index(name) for name in names]
    mean, matrix = [section.mean[k] for k in places], section.matrix[np.ix_(places, places)]
    diagonal = np.diag(matrix)
    independent = np.count_nonzero(matrix) == len(places)
    return NormalConstraint(list(names), mean, np.sqrt(diagonal) if independent else matrix)


def combination_sum(file: CombinationFile, inputs: Sequence[CombinationInput]) -> CombinationSum:
    """Check that inputs fit together, and add their costs.

    Parameters
    ----------
    file
        Content of ``combination.toml``, with shared parameters and roles.
    inputs
        Inputs, each from :func:`read_input`.

    Raises
    ------
    ConfigurationError
        If the inputs do not fit together.  The message names each problem with its inputs and what
        to do.

    Examples
    --------
    >>> sections = [ConstraintSection(name=name, parameters=["mu"], mean=[mean], error=[1.0])
    ...             for name, mean in (("a", 0.0), ("b", 2.0))]
    >>> file = CombinationFile(constraint=sections, shared=["mu"], roles={"mu": "interest"})
    >>> both = combination_sum(file, [read_input(file, section) for section in sections])
    >>> float(both.cost(1.0)), both.roles
    (2.0, {'mu': 'interest'})
    """
    # The same sum, to the last bit, in whatever order the file has them.
    inputs = sorted(inputs, key=lambda i: i.name)
    having: dict[str, list[CombinationInput]] = {}
    for given in inputs:
        for name in given.parameters:
            having.setdefault(name, []).append(given)
    problems = [
        *_undeclared(file, having),
        *_twice(inputs),
        *(line for name, sharing in having.items() for line in _contradictions(name, sharing)),
    ]
    roles: dict[str, Role] = {}
    for name, sharing in having.items():
        said = {i.roles[name]: i for i in reversed(sharing) if i.roles[name] is not None}
        role = file.roles.get(name) or next(iter(said), None)
        if role is None:
            problems.append(
                f"{name} appears only in constraints, so its role is unknown; write "
                f'roles = {{ "{name}" = "interest" }}, or "nuisance"'
            )
        elif len(said) > 1 and name not in file.roles:
            words = " and ".join(f"{role} in {i.name}" for role, i in sorted(said.items(), key=str))
            problems.append(
                f"{name} is {words}: if it is the same parameter, give its role in roles; "
                "otherwise rename it in one of these inputs"
            )
        else:
            roles[name] = role
    problems += _calibrated(file, inputs, roles)
    left_out, more = _counted_once(having)
    problems += more
    if not problems and "interest" not in roles.values():
        problems.append("no parameter has the role interest; give one in roles")
    if problems:
        lines = [f"{file.source or 'combination'}:", *(f"  {line}" for line in problems)]
        raise ConfigurationError("\n".join(lines))
    terms = [_without(i, left_out.get(i.name, ())) for i in inputs]
    return CombinationSum(
        cost=_sum(terms),
        roles=roles,
        left_out={i.name: left_out.get(i.name, ()) for i in inputs},
        alone=_alone(inputs, roles, left_out),
    )


def _sum(terms: Sequence[Cost]) -> Cost:
    return terms[0] if len(terms) == 1 else CostSum(*terms)


def _without(given: CombinationInput, names: Sequence[str]) -> Cost:
    cost: Any = given.cost
    return cost.without_constraints(names) if names else given.cost


def _and(inputs: Sequence[CombinationInput]) -> str:
    return " and ".join(i.name for i in inputs)


def _undeclared(
    file: CombinationFile, having: Mapping[str, Sequence[CombinationInput]]
) -> list[str]:
    """Names that stand in two inputs and not in the file, or the other way around."""
    problems = []
    for name, sharing in having.items():
        if len(sharing) > 1 and name not in file.shared:
            problems.append(
                f"{name} is a parameter of {_and(sharing)}: if it is the same, list it in shared; "
                f'otherwise rename it in one of these inputs, rename = {{ "{name}" = … }}'
            )
        alone = len(sharing) == 1 and sharing[0].kind == "constraint"
        if alone and all(len(having[other]) == 1 for other in sharing[0].parameters):
            problems.append(
                f"the constraint {sharing[0].name} is of {name}, which no other input has"
                + (did_you_mean(name, [n for n in having if n != name]) or "; correct its name")
            )
    for key, names in (("shared", file.shared), ("roles", file.roles)):
        for name in names:
            sharing = having.get(name, [])
            if not sharing:
                hint = did_you_mean(name, list(having)) or f"; there are {shortened([*having])}"
                problems.append(f"{key} has {name}, which is a parameter of no input{hint}")
            elif key == "shared" and len(sharing) == 1:
                others = [n for n in having if n != name]
                problems.append(
                    f"shared has {name}, which is a parameter of {sharing[0].name} alone"
                    + (
                        did_you_mean(name, others)
                        or "; rename a parameter of another input to it, or remove it from shared"
                    )
                )
    return problems


def _twice(inputs: Sequence[CombinationInput]) -> list[str]:
    return [
        f"{a.name} and {b.name} are the same {a.kind}, so its data would be used twice; remove one"
        for a, b in combinations(inputs, 2)
        if a.kind == b.kind and a.identity == b.identity
    ]


def _contradictions(name: str, sharing: Sequence[CombinationInput]) -> list[str]:
    """Describe how two inputs contradict each other about a parameter that they share."""
    problems = []
    for a, b in combinations(sharing, 2):
        (a_low, a_high), (b_low, b_high) = a.limits[name], b.limits[name]
        if max(a_low, b_low) >= min(a_high, b_high):
            problems.append(
                f"{name} is limited to [{a_low:g}, {a_high:g}] in {a.name} and to "
                f"[{b_low:g}, {b_high:g}] in {b.name}; it cannot be the same parameter, so rename "
                "it in one of these inputs"
            )
        if name in a.units and name in b.units and a.units[name] != b.units[name]:
            problems.append(
                f"{name} is in {a.units[name]!r} in {a.name} and in {b.units[name]!r} in {b.name}; "
                "publish one of them in the unit of the other"
            )
        if (name in a.fixed) != (name in b.fixed):
            one, other = (a, b) if name in a.fixed else (b, a)
            problems.append(
                f"{one.name} fixes {name} at {one.start[name]:g}, but {other.name} measures it; "
                "rename it in one of these inputs"
            )
        elif name in a.fixed and a.start[name] != b.start[name]:
            problems.append(
                f"{name} is fixed at {a.start[name]:g} in {a.name} and at {b.start[name]:g} in "
                f"{b.name}; rename it in one of these inputs"
            )
    return problems


def _calibrated(
    file: CombinationFile, inputs: Sequence[CombinationInput], roles: Mapping[str, Role]
) -> list[str]:
    """Likelihoods that are calibrated by themselves, in a sum with other data."""
    if file.allow_calibrated:
        return []
    data = [
        i
        for i in inputs
        if i.kind != "constraint" or any(roles.get(n) == "interest" for n in i.parameters)
    ]
    if len(data) < 2:
        return []
    return [
        f"{i.name} is calibrated alone, but intervals of a sum that contains it need not cover: "
        "publish it without calibration, and calibrate the sum with toys of all inputs "
        "(milinfer.CombinedToys), or set allow_calibrated = true and state that the coverage of "
        "the sum was not tested"
        for i in data
        if i.calibrated
    ]


def _counted_once(
    having: Mapping[str, Sequence[CombinationInput]],
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Constraints that inputs leave out because another one has them, and what is wrong."""
    left_out: dict[str, tuple[str, ...]] = {}
    problems = []
    for name, sharing in having.items():
        inside = [i for i in sharing if name in i.constraints]
        bound = [i for i in sharing if name in i.inseparable]
        given = [i for i in sharing if i.kind == "constraint"]
        every = [*bound, *inside, *given]
        if not (bound or inside) or len(every) < 2:
            continue
        if bound:
            problems.append(
                f"the constraint of {name} would be applied twice, in {_and(every)}: "
                f"{bound[0].name} "
                "contains it in a workspace or correlated with others, and cannot leave it out; "
                "publish that without it"
            )
            continue
        if len(given) > 1:
            problems.append(
                f"{_and(given)} both constrain {name}, which {_and(inside)} constrains, too; make "
                "one constraint of them"
            )
            continue
        keeping = given[0] if given else inside[0]
        for other in inside:
            if other is keeping:
                continue
            section = keeping.section
            replaces = isinstance(section, ConstraintSection) and section.replaces
            if not replaces and not _agree(keeping, other, name):
                problems.append(
                    f"{_said(keeping, name)}, and {_said(other, name)}: if these are measurements "
                    "of two parameters, rename one; if one of them is right, write it as "
                    "[[constraint]] with replaces = true"
                )
            left_out[other.name] = (*left_out.get(other.name, ()), name)
    return left_out, problems


def _measurement(given: CombinationInput, name: str) -> AuxiliaryMeasurement:
    """The constraint of a parameter in an input."""
    if not isinstance(given.section, ConstraintSection):
        return given.constraints[name]
    k = given.parameters.index(name)
    error = float(np.sqrt(given.section.matrix[k, k]))
    return AuxiliaryMeasurement(name, given.section.mean[k], error)


def _agree(one: CombinationInput, other: CombinationInput, name: str) -> bool:
    a, b = _measurement(one, name), _measurement(other, name)
    difference = max(abs(a.measured - b.measured), abs(a.error - b.error))
    return difference <= _SAME * a.error and (name in one.counted) == (name in other.counted)


def _said(given: CombinationInput, name: str) -> str:
    constraint = _measurement(given, name)
    count = ", a count," if name in given.counted else ""
    return (
        f"{given.name} constrains {name} to {constraint.measured:g} ± {constraint.error:g}{count}"
    )


def _alone(
    inputs: Sequence[CombinationInput],
    roles: Mapping[str, Role],
    left_out: Mapping[str, tuple[str, ...]],
) -> dict[str, Cost]:
    """Each input that has a parameter of interest, with constraints of its nuisance parameters."""
    alone = {}
    for given in inputs:
        if not any(roles[name] == "interest" for name in given.parameters):
            continue
        terms: list[Cost] = []
        replaced: list[str] = []
        for other in inputs if given.kind != "constraint" else ():
            section = other.section
            own = [n for n in other.parameters if n in given.parameters and roles[n] != "interest"]
            if not isinstance(section, ConstraintSection) or not own:
                continue
            theirs = {section.rename.get(name, name): name for name in section.parameters}
            measured = _normal(section, [theirs[name] for name in own])
            terms.append(renamed(measured, {theirs[name]: name for name in own}))
            replaced += [name for name in own if name in left_out.get(given.name, ())]
        alone[given.name] = _sum([_without(given, replaced), *terms])
    return alone
