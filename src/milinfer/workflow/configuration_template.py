"""The commented ``analysis.toml`` that an analysis begins with."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from milinfer.exceptions import ConfigurationError
from milinfer.typing import PathLikeStr
from milinfer.utils.files import write_whole

__all__ = ["init_analysis"]


def init_analysis(path: PathLikeStr = "analysis.toml", *, overwrite: bool = False) -> Path:
    """Write a commented configuration to begin with.

    Parameters
    ----------
    path
        File to write.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfigurationError
        If there is a file already.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.workflow.configuration_file import read_configuration
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = init_analysis(pathlib.Path(folder, "analysis.toml"))
    ...     read_configuration(file).model[0].head
    'polynomial'
    """
    target = Path(path)
    if target.exists() and not overwrite:
        msg = f"{target} is there already; give another name, or overwrite=True to replace it"
        raise ConfigurationError(msg)
    if not target.parent.is_dir():
        msg = f"cannot write {target}: there is no folder {target.parent}; make it first"
        raise ConfigurationError(msg)
    text = files("milinfer.workflow").joinpath("analysis_template.toml").read_text(encoding="utf-8")
    write_whole(target, text)
    return target
