"""The option --quick of the benchmarks, and the small networks that it trains."""

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
    """Read the options of a benchmark; with ``--quick`` the defaults are taken from `quick`.

    The quick size runs every part in seconds, so that tests notice if a benchmark breaks; its
    figures mean nothing.  Options on the command line take precedence over both defaults.
    """
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, only to see that the benchmark runs"
    )
    if parser.parse_args(arguments).quick:
        parser.set_defaults(**quick)
    return parser.parse_args(arguments)


def small(model: Any, quick: bool, *, learns: bool = False) -> Any:
    """Return an untrained likelihood; for the quick size, with the network that trains fastest.

    Most of a short training is the translation of the network into a graph.  With `learns` the
    network is trained for longer, until it can be calibrated or its output can be histogrammed.
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
