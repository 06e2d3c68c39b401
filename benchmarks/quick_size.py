"""The option --quick of the benchmarks, and what it trains."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any


def parse(
    parser: argparse.ArgumentParser,
    quick: Mapping[str, object],
    arguments: Sequence[str] | None = None,
) -> argparse.Namespace:
    """Options of a benchmark; with ``--quick`` the defaults are those of `quick`.

    The quick size goes the whole way in seconds, so that tests notice when a benchmark breaks; its
    figures mean nothing.  What is written on the command line counts in both sizes.
    """
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    if parser.parse_args(arguments).quick:
        parser.set_defaults(**quick)
    return parser.parse_args(arguments)


def small(model: Any, quick: bool, *, learns: bool = False) -> Any:
    """An untrained likelihood as it is; for the quick size with the network that trains fastest.

    Most of a short training is the translation of the network into a graph.  What `learns` is
    trained for longer: good enough to be calibrated, or for a histogram of its output.
    """
    from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig

    if not quick:
        return model
    return replace(
        model,
        network=NetworkConfig((8,), "gelu", batch_norm=False, dropout=0.0, l2=0.0),
        # Else some steps: with more than 300, XLA compiles them first.
        training=TrainingConfig(
            *((10, 500) if learns else (5, None)), 1e-2, 1e-3, schedule="cosine"
        ),
    )
