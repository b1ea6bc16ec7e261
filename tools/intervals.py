"""How sure a mean is, and whether stated uncertainties hold."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit


def mean_interval(
    values: np.ndarray, blocks: np.ndarray, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> np.ndarray:
    """Means over all samples with a bootstrap interval. values: (N, M); blocks: (N,) labels -> low, mean, high (3, M).

    Samples of one block (consecutive frames of one action) err alike and say little more than one of them, so whole
    blocks are drawn with replacement; drawing samples one by one would claim several times the precision. For paired
    differences of two estimates hand in the differences. With a dozen blocks plain percentiles are too narrow: the
    levels are widened as the t distribution asks (Hesterberg: What teachers should know about the bootstrap, 2015,
    "expanded percentile interval"). With a single block low and high are NaN.
    """
    _, block = np.unique(blocks, return_inverse=True)
    sizes = np.bincount(block)
    count = len(sizes)
    mean = values.mean(axis=0)
    if count < 2:
        return np.stack([np.full_like(mean, np.nan), mean, np.full_like(mean, np.nan)])
    sums = np.stack([np.bincount(block, weights=column) for column in values.T], axis=1)  # (blocks, M)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    means = (drawn @ sums) / (drawn @ sizes)[:, None]
    tail = ndtr(np.sqrt(count / (count - 1)) * stdtrit(count - 1, (1 - level) / 2))
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return np.stack([low, mean, high])


def inside_interval(errors: np.ndarray, sigma: np.ndarray, share: float) -> np.ndarray:
    """1 where an error lies in the central interval of this share that a normal distribution of `sigma` has, else 0.

    errors, sigma: (...), any unit; NaN where no sigma is stated.
    """
    half_width = ndtri(0.5 + share / 2) * sigma
    return np.where(np.isfinite(sigma), np.abs(errors) <= half_width, np.nan)
