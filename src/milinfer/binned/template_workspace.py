"""Templates as a HistFactory workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.binned.histograms import as_counts
from milinfer.typing import FloatArray

if TYPE_CHECKING:
    from milinfer.binned.templates import Templates

__all__ = ["pyhf_channel", "template_workspace"]


def pyhf_channel(
    name: str, yields: FloatArray, relative_errors: FloatArray | None = None
) -> dict[str, Any]:
    """HistFactory channel with one sample for each point of a morphing basis.

    Parameters
    ----------
    name
        Of the channel.
    yields
        Shape (n_coefficients, n_bins), positive.
    relative_errors
        Of the total in each bin, shape (n_bins,): a ``staterror`` with one factor for each bin
        (Barlow–Beeston-lite); None leaves it out.

    Examples
    --------
    >>> import numpy as np
    >>> channel = pyhf_channel("x", np.ones((2, 3)))
    >>> [s["modifiers"][0]["name"] for s in channel["samples"]]
    ['w_0', 'w_1']
    """
    samples = []
    for k, row in enumerate(yields):
        modifiers: list[dict[str, Any]] = [{"name": f"w_{k}", "type": "normfactor", "data": None}]
        if relative_errors is not None:
            # pyhf adds the samples' errors in quadrature and divides by the sum of the samples.
            share = relative_errors * yields.sum(axis=0) / np.sqrt(len(yields))
            modifiers.append(
                {"name": f"staterror_{name}", "type": "staterror", "data": share.tolist()}
            )
        samples.append({"name": f"basis_{k}", "data": row.tolist(), "modifiers": modifiers})
    return {"name": name, "samples": samples}


def template_workspace(
    templates: Templates,
    counts: ArrayLike | None = None,
    *,
    mc_stat: bool = True,
    name: str | None = None,
) -> dict[str, Any]:
    """HistFactory workspace of templates, for ``pyhf.Workspace``.

    Its factors ``w_k`` are functions of the parameters, ``templates.basis.weights(theta,
    templates.basis_points)``, which HistFactory cannot say;
    :class:`~milinfer.binned.template_cost.TemplateCost` ties them.  They may be negative, so give pyhf
    their bounds, which are in the workspace.

    Parameters
    ----------
    templates
        The templates.
    counts
        Observed counts, shape (n_bins,); default: those expected at the reference.
    mc_stat
        Whether to add the Monte-Carlo errors at ``templates.reference`` as ``staterror``.
    name
        Of the channel; default: of the observable.

    Raises
    ------
    TemplateError
        If the counts do not fit the templates.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2, luminosity=1.0)
    >>> workspace = template_workspace(templates)
    >>> [s["name"] for s in workspace["channels"][0]["samples"]]
    ['basis_0', 'basis_1', 'basis_2']
    """
    at, title = templates.reference, name or templates.observable_name
    sigma = templates.cross_sections(at)
    # Without a luminosity the templates are those of one event at the reference.
    lumi = templates.luminosity
    scale = 1.0 / float(sigma.sum()) if lumi is None else 1000.0 * lumi
    observed = scale * sigma if counts is None else as_counts(counts, templates.n_bins, title)
    errors = templates.relative_errors(at) if mc_stat else None
    initial = templates.basis.weights(templates.basis.array(at), templates.basis_points)[0]
    factors = [
        {"name": f"w_{k}", "inits": [float(w)], "bounds": [[-1e3, 1e3]]}
        for k, w in enumerate(initial)
    ]
    return {
        "channels": [pyhf_channel(title, templates.basis_yields(scale), errors)],
        "observations": [{"name": title, "data": observed.tolist()}],
        "measurements": [{"name": "milinfer", "config": {"poi": "", "parameters": factors}}],
        "version": "1.0.0",
    }
