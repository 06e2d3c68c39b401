r"""Export polynomial histograms as a datacard of CMS Combine with its ``InterferenceModels``.

Combine multiplies the nominal content of bin b of a process by :math:`\theta^T M_b\, \theta` with
:math:`\theta = (1, c_1, c_2, …)`; the file ``scaling.json`` contains the lower triangle of each
symmetric matrix :math:`M_b`.  The coefficient of :math:`c_i c_j` is shared by two entries of the
matrix, one on each side of the diagonal, so the file contains half of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.binned.polynomial_histogram import monomial_parameters, monomial_powers
from milinfer.binned.polynomial_import import lower_triangle
from milinfer.binned.polynomial_workspace import ScaledProcess, scaled_processes
from milinfer.binned.template_histograms import as_counts
from milinfer.exceptions import ParameterError, TemplateError
from milinfer.typing import FloatArray, PathLikeStr, Point
from milinfer.utils.files import atomic_path, write_whole

__all__ = ["export_datacard", "interference_scaling"]

_CONSTANT = "cSM"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DATA = "data_obs"


def interference_scaling(process: ScaledProcess, parameters: Sequence[str]) -> FloatArray:
    """Compute the matrices M_b that scale the bins in Combine, as lower triangles.

    The result has the shape (n_bins, n_entries).

    Parameters
    ----------
    process
        Process whose bins are scaled.
    parameters
        Names of the parameters in the order of the rows; the constant 1 is the first row.

    Raises
    ------
    TemplateError
        If a monomial has a degree above 2.

    Examples
    --------
    >>> import hist
    >>> from milinfer.binned.polynomial_histogram import PolynomialHistogram
    >>> axis = hist.axis.Integer(0, 1, name="x", flow=False)
    >>> coefficients = np.array([[2.0], [1.0], [4.0]])
    >>> h = PolynomialHistogram.of_arrays(["1", "c", "c^2"], [axis], coefficients)
    >>> (process,), _ = scaled_processes({"signal": h}, {"c": (-1, 1)})
    >>> interference_scaling(process, ["c"])
    array([[1.  , 0.25, 2.  ]])
    """
    rows, columns = lower_triangle(len(parameters) + 1)
    entry = {pair: k for k, pair in enumerate(zip(rows.tolist(), columns.tolist(), strict=True))}
    scaling = np.zeros((len(process.nominal), len(rows)))
    for monomial, values in zip(process.monomials, process.scaling, strict=True):
        powers = monomial_powers(monomial)
        factors = [1 + parameters.index(n) for n, power in powers.items() for _ in range(power)]
        if len(factors) > 2:
            msg = (
                f"{process.name} has the monomial {monomial}, but Combine's InterferenceModels "
                "allow only degree 2 in the parameters; fit it with pyhf (export_polynomials), or "
                "use one operator insertion (degree 2)"
            )
            raise TemplateError(msg)
        i, j = sorted([0, 0, *factors])[-1:-3:-1]
        scaling[:, entry[i, j]] += values if i == j else values / 2
    return scaling


def export_datacard(
    processes: Mapping[str, Any],
    folder: PathLikeStr,
    counts: ArrayLike | None = None,
    *,
    limits: Mapping[str, tuple[float, float]],
    point: Point | None = None,
    channel: str = "channel",
    mc_stat: bool = True,
) -> None:
    """Write a datacard for CMS Combine: ``datacard.txt``, ``shapes.root`` and ``scaling.json``.

    The first lines of the datacard show the command that makes a Combine workspace from it.  You
    can add lines for systematic uncertainties.

    Parameters
    ----------
    processes
        Histogram of each process, by name, with contents in events: a
        :class:`~milinfer.binned.PolynomialHistogram` of degree 2, or a ``hist.Hist`` if the process
        does not depend on the parameters.
    folder
        Folder in which to write the files; it is made if it does not exist.
    counts
        Observed counts, shape (n_bins,).  With several observables, the bin of the last observable
        runs fastest.  Default: the counts expected at `point`.
    limits
        Range of every parameter, such as ``templates.limits``.
    point
        Parameter values at which the nominal contents are taken and at which fits start; default: 0
        for all.
    channel
        Name of the channel.
    mc_stat
        Whether to include Monte-Carlo errors: the histograms get their errors at `point`, and the
        datacard gets ``autoMCStats`` for the channel.

    Raises
    ------
    TemplateError
        If the degree of a process is above 2, if Combine does not allow a name, or for the reasons
        given in :func:`~milinfer.binned.polynomial_workspace.export_polynomials`.
    ParameterError
        As for :func:`~milinfer.binned.polynomial_workspace.export_polynomials`.

    Examples
    --------
    >>> import hist, tempfile
    >>> from milinfer.binned.polynomial_histogram import PolynomialHistogram
    >>> axis = hist.axis.Integer(0, 2, name="x", flow=False)
    >>> h = PolynomialHistogram.of_arrays(["1", "c"], [axis], np.array([[4.0, 8.0], [2.0, 2.0]]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_datacard({"signal": h}, folder, limits={"c": (-1, 1)}, mc_stat=False)
    ...     sorted(p.name for p in Path(folder).iterdir())
    ...     json.loads(Path(folder, "scaling.json").read_text())[0]["scaling"]
    ['datacard.txt', 'scaling.json', 'shapes.root']
    [[1.0, 0.25, 0.0], [1.0, 0.125, 0.0]]
    """
    import uproot

    scaled, at = scaled_processes(processes, limits, point)
    for name in (channel, *processes, *at):
        if not _NAME.fullmatch(name) or name in {_CONSTANT, _DATA}:
            msg = (
                f"{name!r} cannot be used as a name in this datacard; choose a name that has only "
                f"letters, digits and underscores ({_CONSTANT} and {_DATA} are reserved)"
            )
            raise (ParameterError if name in at else TemplateError)(msg)
    entries = []
    for process in scaled:
        if mc_stat and process.errors is None:
            msg = (
                f"the Monte-Carlo errors of {process.name} are missing; give its covariance (or "
                "variances), or mc_stat=False"
            )
            raise TemplateError(msg)
        if process.monomials:
            own = [n for n in at if n in monomial_parameters(process.monomials)]
            ranges = [f"{n}[{','.join(repr(float(x)) for x in (at[n], *limits[n]))}]" for n in own]
            entries.append(
                {
                    "channel": channel,
                    "process": process.name,
                    "parameters": [f"{_CONSTANT}[1]", *ranges],
                    "scaling": interference_scaling(process, own).tolist(),
                }
            )
    expected = np.sum([p.nominal for p in scaled], axis=0)
    observed = expected if counts is None else as_counts(counts, len(expected), channel)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with atomic_path(target / "shapes.root") as temporary, uproot.recreate(temporary) as file:
        for process in scaled:
            errors = process.errors if mc_stat else None
            file[f"{channel}/{process.name}"] = _shape(process.axes, process.nominal, errors)
        file[f"{channel}/{_DATA}"] = _shape(scaled[0].axes, observed, np.sqrt(observed))
    write_whole(target / "scaling.json", json.dumps(entries, indent=1, allow_nan=False) + "\n")
    write_whole(target / "datacard.txt", _card(scaled, channel, mc_stat=mc_stat))


def _shape(axes: Sequence[Any], values: FloatArray, errors: FloatArray | None) -> Any:
    """Histogram of one axis: that of the observable, or the number of the bin of several."""
    import hist

    axis = hist.axis.Integer(0, len(values), name="bin", label="bin")
    if len(axes) == 1 and not isinstance(axes[0], (hist.axis.StrCategory, hist.axis.IntCategory)):
        axis = hist.axis.Variable(axes[0].edges, name=axes[0].name, label=axes[0].label)
    histogram = hist.Hist(axis, storage=hist.storage.Weight())
    histogram.view()["value"] = values
    histogram.view()["variance"] = 0.0 if errors is None else errors**2
    return histogram


def _card(scaled: Sequence[ScaledProcess], channel: str, *, mc_stat: bool) -> str:
    """Text of the datacard."""
    # Signals have numbers up to 0, backgrounds from 1 on.
    signals = [p.name for p in scaled if p.monomials]
    backgrounds = [p.name for p in scaled if not p.monomials]
    names = [*signals, *backgrounds]
    numbers = [k - len(signals) + 1 for k in range(len(names))]
    rows = [
        ["bin", *[channel] * len(names)],
        ["process", *names],
        ["process", *map(str, numbers)],
        ["rate", *["-1"] * len(names)],
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    alone = "" if backgrounds else " --X-allow-no-background"
    lines = [
        f"# text2workspace.py datacard.txt{alone} \\",
        "#   -P HiggsAnalysis.CombinedLimit.InterferenceModels:interferenceModel \\",
        "#   --PO verbose --PO scalingData=scaling.json -o workspace.root",
        "imax 1",
        f"jmax {len(names) - 1}",
        "kmax *",
        "-" * 12,
        f"shapes * {channel} shapes.root {channel}/$PROCESS",
        "-" * 12,
        f"bin {channel}",
        "observation -1",
        "-" * 12,
        *table,
        "-" * 12,
        *([f"{channel} autoMCStats 0"] if mc_stat else []),
    ]
    return "\n".join(lines) + "\n"
