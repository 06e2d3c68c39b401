"""Trained likelihoods as a notebook shows them; the history of a training as an Arrow table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from milinfer.utils.display import html_facts, shortened
from milinfer.utils.points import format_point
from milinfer.utils.tables import arrow_table

if TYPE_CHECKING:
    import pyarrow as pa

    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.boosted_trees import BoostedLikelihood

__all__ = ["history_table", "html_bag_likelihood", "html_boosted"]


def history_table(history: Sequence[Mapping[str, Sequence[float]]]) -> pa.Table:
    """One row for each network and epoch; both are counted from 0.

    Parameters
    ----------
    history
        Of each network: one value an epoch for each quantity.

    Examples
    --------
    >>> history_table([{"loss": [0.5, 0.4]}, {"loss": [0.6]}]).to_pylist()[-1]
    {'network': 1, 'epoch': 0, 'loss': 0.6}
    """
    names = list(dict.fromkeys(name for h in history for name in h))
    rows = [
        {"network": k, "epoch": epoch, **dict(zip(h, values, strict=True))}
        for k, h in enumerate(history)
        for epoch, values in enumerate(zip(*h.values(), strict=True))
    ]
    return arrow_table({"network": int, "epoch": int, **dict.fromkeys(names, float)}, rows)


def html_bag_likelihood(model: BagLikelihood) -> str:
    """What a model is, where it was trained, and how far training went.

    Examples
    --------
    >>> from milinfer.learning.bag_likelihood import BagLikelihood
    >>> "not trained" in html_bag_likelihood(BagLikelihood(bag_size=20))
    True
    """
    facts: dict[str, object] = {
        "head": f"{model.head}, {model.labels} labels",
        "bags": f"{model.events_in_bag} events, {model.pooling} pooling",
        "ensemble": f"{model.ensemble}, average of the {model.average}"
        if model.ensemble > 1
        else "",
        "reference": model.reference,
    }
    if model._fitted is None:
        return html_facts(f"BagLikelihood {model.name}, not trained", facts)
    fitted = model.fitted
    points = [
        format_point(dict(zip(fitted.parameters, p, strict=True))) for p in fitted.points.tolist()
    ]
    histories = fitted.history
    best = [min(h["val_loss"]) for h in histories]
    facts |= {
        "points": f"{len(points)}: {shortened(points)}",
        "features": f"{len(model.feature_names)}: {shortened(model.feature_names)}",
        "events": f"{sum(fitted.n_events.values())}, worth {fitted.effective_events:.0f} without "
        "weights",
        "network": f"{'-'.join(map(str, fitted.network.hidden))}, {fitted.network.activation}",
        "epochs": shortened([str(len(h["loss"])) for h in histories]),
        "lowest validation loss": shortened([f"{v:.5f}" for v in best]),
    }
    return html_facts(f"BagLikelihood {model.name}", facts)


def html_boosted(model: BoostedLikelihood) -> str:
    """The same for boosted trees.

    Examples
    --------
    >>> from milinfer.learning.boosted_trees import BoostedLikelihood
    >>> "not trained" in html_boosted(BoostedLikelihood())
    True
    """
    if model._fitted is None:
        return html_facts("BoostedLikelihood, not trained", {"reference": model.reference})
    fitted = model.fitted
    points = [format_point({fitted.parameter: value}) for value in fitted.grid.tolist()]
    settings = fitted.settings
    facts = {
        "reference": model.reference,
        "points": f"{len(points)}: {shortened(points)}",
        "features": f"{len(fitted.feature_names)}: {shortened(fitted.feature_names)}",
        "events": sum(fitted.n_events.values()),
        "rounds": fitted.booster.num_boosted_rounds(),
        "trees": f"depth {settings.max_depth}, learning rate {settings.learning_rate:g}",
        "trials": len(fitted.tried) or "",
        **{
            f"lowest {name.replace('_', ' ')}": f"{min(values):.5f}"
            for name, values in fitted.history.items()
        },
    }
    return html_facts("BoostedLikelihood", facts)
