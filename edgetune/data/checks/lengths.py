"""Lengths of many texts: their quantiles, and a histogram that reads well."""

from collections.abc import Sequence
from typing import Any

import numpy as np

_QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_STEPS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), (1, 2, 3, 4, 5, 6, 7, 8, 9))
# Where the buckets of each power of ten begin, from coarse to fine.
_BUCKETS = 14
_ALIKE = 6
# Times the median.


def summarize(lengths: Sequence[int] | np.ndarray) -> dict[str, Any]:
    """Median, 90th and 99th percentile, largest, and a histogram whose buckets grow with the
    length; ``from`` and ``to`` both belong to a bucket. {} for no lengths."""
    values = np.asarray(lengths, np.int64)
    if not len(values):
        return {}
    found = np.quantile(values, list(_QUANTILES.values()), method="inverted_cdf")
    figures: dict[str, Any] = dict(zip(_QUANTILES, map(int, found), strict=True))
    return figures | {"histogram": histogram(values)}


def histogram(values: np.ndarray) -> list[dict[str, int]]:
    """Counts of lengths in some ten buckets that begin at round numbers: equally wide ones where
    the longest is not much longer than most, else ones that grow."""
    least, most = int(values.min()), int(values.max())
    if most <= _ALIKE * np.median(values):
        starts = _equal(least, most)
    else:
        starts = max(
            (_growing(least, most, steps) for steps in _STEPS),
            key=lambda found: (len(found) <= _BUCKETS, len(found)),
        )
    places = np.searchsorted(np.array(starts), values, side="right") - 1
    ends = [start - 1 for start in starts[1:]] + [most]
    counts = np.bincount(places, minlength=len(starts)).tolist()
    return [
        {"from": start, "to": end, "count": count}
        for start, end, count in zip(starts, ends, counts, strict=True)
    ]


def _equal(least: int, most: int) -> list[int]:
    """Where buckets of equal width begin."""
    widths = (step * 10**power for power in range(20) for step in (1, 2, 5))
    width = next(width for width in widths if most // width - least // width < _BUCKETS)
    return list(range(least // width * width, most + 1, width))


def _growing(least: int, most: int, steps: Sequence[int]) -> list[int]:
    """Where buckets begin that grow with the length."""
    powers = range(len(str(most)))
    round_numbers = sorted({0, *(step * 10**power for power in powers for step in steps)})
    first = max(number for number in round_numbers if number <= least)
    return [number for number in round_numbers if first <= number <= most]
