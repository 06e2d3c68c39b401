"""Statistics of bootstrap samples at once are those of one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.utils.resampling import covariances, samples_at_once


@pytest.mark.parametrize("dimensions", [1, 3])
def test_covariances_are_those_of_numpy(dimensions):
    values = np.random.default_rng(1).normal(size=(5, 20, dimensions)) + 100.0
    for sample, found in zip(values, covariances(values), strict=True):
        np.testing.assert_allclose(found, np.atleast_2d(np.cov(sample.T)), rtol=1e-12)


@pytest.mark.parametrize(("n_samples", "n"), [(0, 5), (7, 5), (7, 400_000), (3, 10**8), (2, 0)])
def test_every_sample_is_in_one_block(n_samples, n):
    blocks = list(samples_at_once(n_samples, n))
    assert [k for block in blocks for k in block] == list(range(n_samples))
    assert all(len(block) == 1 or len(block) * n <= 1_000_000 for block in blocks)


def test_blocks_draw_the_numbers_that_single_samples_draw():
    """Else errors of results would depend on the sizes of the blocks."""
    one, blocks = (np.random.default_rng(3) for _ in range(2))
    singly = np.array([one.integers(37, size=11) for _ in range(6)])
    at_once = np.concatenate([blocks.integers(37, size=(n, 11)) for n in (4, 2)])
    np.testing.assert_array_equal(singly, at_once)
