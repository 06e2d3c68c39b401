"""Style of all figures: colours, markers and lines of methods, labels with units.

The colours are the palette of Okabe and Ito, with a dark grey, so that colour-blind readers can
tell any two of them apart.  In print without colours these colours look alike; therefore methods
also have different markers and lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure

from milinfer.typing import FloatArray

__all__ = [
    "LINES",
    "MARKERS",
    "PALETTE",
    "MethodStyle",
    "draw_contours",
    "edge_labels",
    "figure_of",
    "method_styles",
    "method_title",
    "observable_label",
    "observable_unit",
    "parameter_label",
    "plain",
    "styled",
]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#555555")
MARKERS = "os^DvPX<"
"""One for each colour."""
LINES: tuple[Any, ...] = (
    "-",
    (0, (7, 1.5)),
    (0, (1.2, 1.2)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (3, 1)),
    (0, (9, 1.5, 1, 1.5, 1, 1.5)),
    (0, (12, 2)),
    (0, (2, 2.5)),
)
"""One for each colour; plain short dashes are kept for results that are not calibrated."""

_LABELS = {
    "c_HW": r"$c_{HW}$",
    "c_HWtil": r"$c_{H\tilde{W}}$",
    "c_Hbox": r"$c_{H\mathrm{box}}$",
}
# Methods that every report shows, and the titles under which it shows them.
_TITLES = {
    "polynomial-joint": "polynomial, joint",
    "polynomial": "polynomial",
    "multiclass": "multi-class bags",
    "pyhf": "pyhf, feature",
    "pyhf_2d": "pyhf, two features",
    "pyhf_classifier": "pyhf, classifier",
    "pyhf_score": "pyhf, score",
    "oracle": "oracle",
}
_METHODS = tuple(_TITLES.values())
# In two parameters this histogram takes the place of that of one score.
_TITLES["pyhf_scores"] = "pyhf, two scores"
_DRAWN_AS = {"pyhf, two scores": "pyhf, score"}
_VARIANTS = (", as trained", ", Neyman")
_KINDS = {
    "pt": ("p_\\mathrm{{T}}({0})", "GeV"),
    "phi": (r"\phi({0})", "rad"),
    "eta": (r"\eta({0})", ""),
    "m": ("m({0})", "GeV"),
    "e": ("E({0})", "GeV"),
}
_PAIRS = {
    "met_et": (r"E_\mathrm{T}^\mathrm{miss}", "GeV"),
    "met_phi": (r"\phi(E_\mathrm{T}^\mathrm{miss})", "rad"),
    "m_ll": (r"m_{\ell\ell}", "GeV"),
    "m_qq": ("m_{qq}", "GeV"),
    "pt_ll": (r"p_\mathrm{T}^{\ell\ell}", "GeV"),
    "pt_qq": (r"p_\mathrm{T}^{qq}", "GeV"),
    "d_phi_ll": (r"\Delta\phi_{\ell\ell}", "rad"),
    "d_phi_qq": (r"\Delta\phi_{qq}", "rad"),
}


class MethodStyle(NamedTuple):
    """Colour, marker and line of a method, the same in every figure."""

    color: str
    marker: str
    ls: Any


@contextmanager
def styled() -> Iterator[None]:
    """Context in which Matplotlib draws in the style of milinfer's figures."""
    import mplhep

    # mplhep's style for axes and ticks, whose sizes are for slides, with sizes for a page.
    base: dict[str, Any] = {
        k: v for k, v in mplhep.style.ATLAS.items() if not k.startswith(("font", "figure"))
    }
    page: dict[str, Any] = {
        "font.family": ["DejaVu Sans"],
        "font.size": 10,
        "axes.labelsize": 11,
        "axes.titlesize": 11,
        "axes.prop_cycle": cycler(color=PALETTE),
        # Numbers do not need mathtext, which takes a third of the time to draw a figure.
        "axes.formatter.use_mathtext": False,
        # A common factor in the corner of an axis is easily missed.
        "axes.formatter.limits": (-3, 4),
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "xtick.major.size": 6,
        "ytick.major.size": 6,
        "xtick.minor.size": 3,
        "ytick.minor.size": 3,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "mathtext.fontset": "dejavusans",
        "svg.fonttype": "path",
        # A fixed salt makes the ids inside an SVG, and so the report, the same in every run.
        "svg.hashsalt": "milinfer",
    }
    settings: Any = {**base, **page}
    with mpl.rc_context(settings):
        yield


class NotebookFigure(Figure):
    """Figure that notebooks draw even if pyplot was not imported.

    Without pyplot, notebooks show an ordinary Matplotlib figure as text.

    Examples
    --------
    >>> figure, axes = figure_of()
    >>> figure._repr_png_()[1:4]
    b'PNG'
    """

    def _repr_png_(self) -> bytes:
        with BytesIO() as buffer:
            self.savefig(buffer, format="png")
            return buffer.getvalue()


def figure_of(width: float = 6.4, height: float = 4.2, **grid: Any) -> tuple[Figure, Any]:
    """Make an empty figure with axes.

    Parameters
    ----------
    width, height
        Size in inches.
    **grid
        Options of ``Figure.subplots``, such as ``nrows``.

    Returns
    -------
    Figure, Axes
        The figure, and its axes as ``Figure.subplots`` returns them.
    """
    figure = NotebookFigure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**grid)


def edge_labels(edges: FloatArray) -> list[str]:
    """Return bin edges as texts, with enough digits to tell the edges apart.

    If several edges are equal, only the first has a text.

    Examples
    --------
    >>> edge_labels(np.array([0.0, 0.9996, 1.0, 1.0]))
    ['0', '0.9996', '1', '']
    """
    distinct = np.unique(edges)
    digits = next(
        (n for n in range(3, 9) if len({f"{e:.{n}g}" for e in distinct}) == len(distinct)), 9
    )
    labels = [f"{e:.{digits}g}" for e in edges]
    return [label if k == 0 or label != labels[k - 1] else "" for k, label in enumerate(labels)]


def method_title(name: str) -> str:
    """Return the name of a method as figures and tables show it.

    Examples
    --------
    >>> method_title("polynomial-joint"), method_title("my model")
    ('polynomial, joint', 'my model')
    """
    return _TITLES.get(name, name)


def method_styles(names: Iterable[str]) -> dict[str, MethodStyle]:
    """Colour, marker and line of each method of a figure.

    Methods that every report shows have fixed styles, the same in all figures; other methods take
    the remaining styles, in order.

    Parameters
    ----------
    names
        Names or titles of methods, in the order in which they are drawn.  ``"a"``,
        ``"a, as trained"`` and ``"a, Neyman"`` are one method and have the same colour.

    Examples
    --------
    >>> styles = method_styles(["mine, as trained", "mine", "polynomial-joint", "oracle"])
    >>> styles["mine"].color == styles["mine, as trained"].color
    True
    >>> len({s.color for s in styles.values()})
    3
    >>> styles["oracle"] == method_styles(["oracle"])["oracle"]
    True
    """
    methods = list(names)
    bases = {name: _base_title(name) for name in methods}
    colours = {b: _METHODS.index(b) for b in bases.values() if b in _METHODS}
    left = [i for i in range(len(PALETTE)) if i not in colours.values()] or list(
        range(len(PALETTE))
    )
    others = [b for b in dict.fromkeys(bases.values()) if b not in colours]
    colours |= {b: left[k % len(left)] for k, b in enumerate(others)}
    return {name: _style(name, colours[bases[name]]) for name in methods}


def _base_title(name: str) -> str:
    """Title of the method without the suffix of a variant."""
    for variant in _VARIANTS:
        name = name.removesuffix(variant)
    title = method_title(name)
    return _DRAWN_AS.get(title, title)


def _style(name: str, i: int) -> MethodStyle:
    if name.endswith(_VARIANTS[0]):
        return MethodStyle(PALETTE[i], "p", "--")
    if name.endswith(_VARIANTS[1]):
        return MethodStyle(PALETTE[i], "*", ":")
    return MethodStyle(PALETTE[i], MARKERS[i], LINES[i])


def draw_contours(
    axis: Any, name: str, lines: Mapping[float, FloatArray], style: MethodStyle, *, alone: bool
) -> None:
    """Draw the contours of one method.

    Parameters
    ----------
    axis
        Matplotlib axes.
    name
        Name of the method, for the legend.
    lines
        For each confidence level: the points of the contour, shape (n, 2).
    style
        Colour and line of the method.
    alone
        Whether no other method is drawn.  If so, the line styles distinguish the levels.
    """
    for k, level in enumerate(sorted(lines)):
        outline = lines[level]
        axis.plot(
            *np.vstack([outline, outline[:1]]).T,
            color=style.color,
            # Width tells the levels of one method apart, the line style the methods.
            ls=LINES[k % len(LINES)] if alone else style.ls,
            lw=2.0 - 0.7 * k,
            label=f"{plain(name)}, {level:.2%}",
        )


def plain(text: str) -> str:
    """Escape dollar signs in a text of the user, so that they do not begin a formula."""
    return text.replace("$", r"\$")


def parameter_label(parameter: str) -> str:
    """Return the label of a parameter on axes; ``c_HW`` becomes a formula with an index.

    Examples
    --------
    >>> parameter_label("c_HW"), parameter_label("bkg_norm")
    ('$c_{HW}$', 'bkg norm')
    """
    return _LABELS.get(parameter, plain(parameter).replace("_", " "))


def observable_unit(name: str) -> str:
    """Return the unit of a feature of the package; empty if the feature has none or is unknown.

    Examples
    --------
    >>> observable_unit("m_ll"), observable_unit("d_phi_qq"), observable_unit("l0_eta")
    ('GeV', 'rad', '')
    """
    return _symbol(name)[1]


def observable_label(name: str) -> str:
    r"""Return the label of a feature on axes, with its unit.

    Parameters
    ----------
    name
        One of the columns of ``feature_set("vbf_2l2j")`` or an observable of a model; any other
        name is returned unchanged.

    Examples
    --------
    >>> print(observable_label("m_ll"), observable_label("l0_pt"), observable_label("my_mva"))
    $m_{\ell\ell}$ [GeV] $p_\mathrm{T}(\ell_0)$ [GeV] my_mva
    """
    symbol, unit = _symbol(name)
    return f"{symbol} [{unit}]" if unit else symbol


def _symbol(name: str) -> tuple[str, str]:
    if name in _PAIRS:
        symbol, unit = _PAIRS[name]
        return f"${symbol}$", unit
    match = re.fullmatch(r"([lq])(\d)_(pt|phi|eta|m|e)", name)
    if match:
        kind, unit = _KINDS[match[3]]
        particle = ("\\ell" if match[1] == "l" else "q") + f"_{match[2]}"
        return f"${kind.format(particle)}$", unit
    if name == "classifier_output":
        return "classifier output (log-ratio)", ""
    if name.startswith("score_"):
        parameter = name.removeprefix("score_")
        return f"score, dΛ/d{parameter_label(parameter)}", ""
    return plain(name), ""
