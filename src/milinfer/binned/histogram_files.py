"""Histograms of templates as JSON in the UHI serialisation, which every histogram library reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milinfer.exceptions import TemplateError
from milinfer.typing import PathLikeStr
from milinfer.utils.files import write_whole
from milinfer.utils.json_text import parse_json
from milinfer.utils.points import format_point, point_id

if TYPE_CHECKING:
    from milinfer.binned.templates import Templates

__all__ = ["load_histograms", "save_histograms"]


def save_histograms(templates: Templates, path: PathLikeStr) -> None:
    """Write the histogram of each sample, with variances, in pb.

    The file is a JSON object: name of the point (``c_HW_m0p5``) → histogram in the serialisation
    of the Universal Histogram Interface.  The metadata of each hold ``point``
    (``c_HW=-0.5``) and ``unit``, in hist ``h.point`` and ``h.unit``.

    Parameters
    ----------
    templates
        Whose ``histograms`` to write.
    path
        JSON file.

    Examples
    --------
    >>> import tempfile
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_histograms(templates, Path(folder, "h.json"))
    ...     histograms = load_histograms(Path(folder, "h.json"))
    >>> list(histograms), histograms["mu_0"] == templates.histograms[1]
    (['mu_m0p5', 'mu_0', 'mu_0p5'], True)
    """
    import uhi.io.json as uhi_json

    content: dict[str, Any] = {}
    for values, h in zip(templates.points.tolist(), templates.histograms, strict=True):
        point = dict(zip(templates.basis.parameters, values, strict=True))
        # The schema of UHI allows text and numbers here; hist makes attributes of them.
        item = h._to_uhi_()
        notes = {**item.get("metadata", {}), "point": format_point(point), "unit": "pb"}
        content[point_id(point)] = {**item, "metadata": notes}
    write_whole(path, json.dumps(content, default=uhi_json.default, indent=1) + "\n")


def load_histograms(path: PathLikeStr) -> dict[str, Any]:
    """Read histograms in the UHI serialisation.

    Parameters
    ----------
    path
        JSON file: an object with a histogram for each name, or one histogram, which then has
        the name of the file; from any library.

    Returns
    -------
    dict
        Name → ``hist.Hist``.

    Raises
    ------
    TemplateError
        If the file is no such JSON.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "h.json").write_text('{"h": 1}')
    ...     try:
    ...         load_histograms(Path(folder, "h.json"))
    ...     except TemplateError as error:
    ...         print(str(error).replace(folder, ""))
    /h.json: 'h' is no histogram in the UHI serialisation ...
    """
    import hist
    import uhi.io.json as uhi_json

    try:
        content = parse_json(
            Path(path).read_text(encoding="utf-8"), object_hook=uhi_json.object_hook
        )
        # UHI allows a file of one histogram as well as one of several by name.
        named = {Path(path).stem: content} if "uhi_schema" in content else dict(content)
    except (OSError, ValueError, TypeError) as error:
        msg = f"{path} is no JSON object of histograms: {error}; write it again"
        raise TemplateError(msg) from error
    histograms = {}
    for name, item in named.items():
        if not isinstance(item, dict) or "uhi_schema" not in item:
            msg = f"{path}: {name!r} is no histogram in the UHI serialisation (no uhi_schema)"
            raise TemplateError(msg)
        try:
            histograms[name] = hist.Hist(item)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{path}: the histogram {name!r} is damaged: {error!r}; write it again"
            raise TemplateError(msg) from error
    return histograms
