"""The file that describes a combination: its inputs, and which parameters they share.

The sections are classes whose attributes are the keys of ``combination.toml``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, model_validator

from milinfer.exceptions import ConfigurationError
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.workflow.systematics_sections import SECTION
from milinfer.workflow.toml_files import read_sections

__all__ = [
    "COMBINATION",
    "CombinationFile",
    "ConstraintSection",
    "InputSection",
    "LikelihoodSection",
    "WorkspaceSection",
]

COMBINATION = "combination"
"""Name of the sum in tables and figures, which no input may have."""

Role = Literal["interest", "normalisation", "nuisance"]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Section(BaseModel):
    model_config = SECTION


class InputSection(_Section):
    """Keys that every input has.

    Attributes
    ----------
    name
        Name of the input in tables, figures and messages.
    rename
        New names of parameters: a table from names in the input to names in the combination.  If a
        workspace has a parameter for each bin (``stat[0]``, ``stat[1]``, …), an entry for ``stat``
        renames all of them.
    units
        Units of parameters: a table from names in the combination to units.
    """

    name: Name
    rename: dict[str, Name] = {}
    units: dict[str, str] = {}


class LikelihoodSection(InputSection):
    """``[[likelihood]]``: a folder that :func:`milinfer.publish` has written.

    Attributes
    ----------
    path
        Folder, relative to ``combination.toml``.
    """

    path: Name


class WorkspaceSection(InputSection):
    """``[[workspace]]``: a workspace of pyhf, with or without morphing.

    Attributes
    ----------
    path
        JSON file, relative to ``combination.toml``.
    measurement
        Name of the measurement; default: the first.
    patch
        File with a JSON patch or a patch set of pyhf.
    signal
        Which patch of a patch set to apply: its name or its values.
    """

    path: Name
    measurement: str | None = None
    patch: Name | None = None
    signal: str | list[float] | None = None


class ConstraintSection(InputSection):
    """``[[constraint]]``: a measurement of parameters with Gaussian errors.

    Attributes
    ----------
    parameters, mean
        Names of the parameters, and their measured values.
    error
        Errors of the measured values, if they are independent.
    covariance
        Covariance matrix of the measured values; give it instead of `error` if they are correlated.
    replaces
        What to do if other inputs contain constraints of these parameters.  True: this constraint
        replaces them.  False: they must be equal to this constraint.
    """

    parameters: Annotated[list[Name], Field(min_length=1)]
    mean: list[float]
    error: list[Annotated[float, Field(gt=0)]] | None = None
    covariance: list[list[float]] | None = None
    replaces: bool = False

    @model_validator(mode="after")
    def _of_one_size(self) -> Self:
        n = len(self.parameters)
        if len(set(self.parameters)) < n:
            msg = "parameters has a name twice; give each name once"
            raise ValueError(msg)
        if (self.error is None) == (self.covariance is None):
            msg = "give either error, a number for each parameter, or covariance, a matrix"
            raise ValueError(msg)
        sizes = {"mean": len(self.mean)}
        if self.error is not None:
            sizes["error"] = len(self.error)
        for key, size in sizes.items():
            if size != n:
                msg = f"{key} has {size} numbers for {n} parameters; give one number for each"
                raise ValueError(msg)
        if self.covariance is not None:
            if [len(row) for row in self.covariance] != [n] * n:
                msg = f"covariance is not a matrix of {n} rows with {n} numbers each; correct it"
                raise ValueError(msg)
            matrix = np.array(self.covariance)
            symmetric = np.allclose(matrix, matrix.T, rtol=1e-9, atol=0.0)
            if not symmetric or not np.all(np.linalg.eigvalsh(matrix) > 0):
                msg = "covariance is not symmetric and positive definite; correct its numbers"
                raise ValueError(msg)
        return self

    @property
    def matrix(self) -> FloatArray:
        """Covariance matrix, shape (n_parameters, n_parameters)."""
        if self.covariance is None:
            return np.diag(np.square(self.error or []))
        return np.array(self.covariance)


class CombinationFile(_Section):
    r"""Content of ``combination.toml``, the file that describes a combination.

    Attributes
    ----------
    title
        Heading of tables.
    shared
        Names (in the combination) of parameters that several inputs have in common.  If two inputs
        have a parameter of the same name, and it is the same parameter, list it here.  If these are
        two different parameters, rename one of them.
    roles
        Role of a parameter (``interest``, ``normalisation`` or ``nuisance``).  It is needed if the
        inputs disagree or give no role.
    allow_calibrated
        Whether a likelihood that was calibrated by itself may be combined with other inputs.  The
        intervals of the combination may then not have the correct coverage.
    likelihood, workspace, constraint
        The inputs, in a list for each kind.
    folder, source
        Folder and path of the file.  Relative paths in the file start at the folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "combination.toml")
    ...     _ = file.write_text('[[constraint]]\nname = "theory"\nparameters = ["mu"]\n'
    ...                         'mean = [1.0]\nerror = [0.1]\n')
    ...     CombinationFile.from_file(file).inputs[0].name
    'theory'
    """

    title: str = "Combination"
    shared: list[Name] = []
    roles: dict[str, Role] = {}
    allow_calibrated: bool = False
    likelihood: list[LikelihoodSection] = []
    workspace: list[WorkspaceSection] = []
    constraint: list[ConstraintSection] = []
    folder: Path = Field(default=Path(), exclude=True)
    source: Path | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if not self.inputs:
            msg = "the file has no input; give [[likelihood]], [[workspace]] or [[constraint]]"
            raise ValueError(msg)
        names = Counter(section.name for section in self.inputs)
        twice = [name for name, n in names.items() if n > 1]
        if twice:
            msg = f"two inputs are called {twice[0]}; give each a different name"
            raise ValueError(msg)
        if COMBINATION in names:
            msg = f"an input is called {COMBINATION}, which is the name of the sum; rename it"
            raise ValueError(msg)
        listed = [name for name, n in Counter(self.shared).items() if n > 1]
        if listed:
            msg = f"shared has {listed[0]} twice; give it once"
            raise ValueError(msg)
        return self

    @property
    def inputs(self) -> tuple[LikelihoodSection | WorkspaceSection | ConstraintSection, ...]:
        """All inputs: first the likelihoods, then the workspaces, then the constraints."""
        return (*self.likelihood, *self.workspace, *self.constraint)

    @classmethod
    def from_file(cls, path: PathLikeStr) -> CombinationFile:
        """Read and check ``combination.toml``.

        Raises
        ------
        ConfigurationError
            If the file cannot be read, or keys are wrong.  The message names every wrong key with
            its allowed values.

        Examples
        --------
        >>> CombinationFile.from_file("nowhere.toml")
        Traceback (most recent call last):
        milinfer.exceptions.ConfigurationError: cannot read nowhere.toml: ...
        """
        source = as_path(path)
        read = read_sections(cls, source)
        return read.model_copy(update={"folder": source.parent, "source": source})

    def path(self, text: str) -> Path:
        """Find a path that is given in the file, relative to the folder of the file.

        Raises
        ------
        ConfigurationError
            If nothing exists at this path.
        """
        found = self.folder / text
        if "\0" in text or not found.exists():
            msg = f"there is no {text!r} in {self.folder.resolve()}; correct the path"
            raise ConfigurationError(msg)
        return found
