"""Dask clusters for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import LocalCluster


def cluster_of_threads(**options: Any) -> LocalCluster:
    """A scheduler and a worker of threads, which start at once and listen to the network."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        dashboard_address=":0",
        **{"protocol": "tcp://", **options},
    )
