"""How often an epoch visits each row: weights of sources, balance of tasks, and the order.

Rows belong to parts (sources, or tasks within sources), and of each part an epoch visits a fixed
number of rows. A part's visits run through an endless sequence of its rows' permutations, each
drawn by seed, and an epoch takes the next ones: over the epochs every row of a part is visited
equally often, to within one visit, whether the part is taken half, once or two and a half times.

The methods are the published ones: examples-proportional mixing with a cap (Wei et al. 2022,
FLAN) and temperature-scaled mixing (Raffel et al. 2020, T5), where a task's share is proportional
to min(rows, cap) ** (1 / temperature). Weights of sources and tasks multiply what comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgetune.config import MixtureConfig
from edgetune.errors import RequestError


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch ``epoch`` (0, 1, …) visits ``n`` examples: a permutation that
    follows from (n, seed, epoch) alone."""
    return _permutation(n, [seed, epoch])


def _permutation(n: int, key: list[int]) -> np.ndarray:
    # Sorting raw bits: unlike Generator.permutation, numpy promises that they never change.
    return np.argsort(np.random.PCG64(key).random_raw(n), kind="stable")


@dataclass(frozen=True)
class Rows:
    """Of which task and source each row is, as numbers into the lists of their names."""

    tasks: np.ndarray
    """int (rows,)"""
    task_names: Sequence[str]
    """"" is the name for rows without a task."""
    sources: np.ndarray
    """int (rows,)"""
    source_names: Sequence[str]
    source_weights: Sequence[float]


class Mixture:
    """What the epochs of a run are made of; make one with ``mix``."""

    def __init__(self, rows: Rows, part: np.ndarray, visits: np.ndarray, seed: int) -> None:
        """``part``: int (rows,), the part of each row; ``visits``: int (parts,), how many rows of
        each an epoch visits."""
        self._rows, self._part, self._visits, self._seed = rows, part, visits, seed
        by_part = np.argsort(part, kind="stable")
        borders = np.cumsum(np.bincount(part, minlength=len(visits)))[:-1]
        self._members = np.split(by_part, borders)

    @property
    def rows_per_epoch(self) -> int:
        """How many rows every epoch visits."""
        return int(self._visits.sum())

    def order(self, epoch: int) -> np.ndarray:
        """The rows that epoch ``epoch`` (0, 1, …) visits, in order: int (rows_per_epoch,).

        Where every row is visited once this is ``epoch_order``.
        """
        chosen = [self._next(number, epoch) for number in range(len(self._members))]
        rows = np.sort(np.concatenate(chosen))
        return rows[epoch_order(len(rows), self._seed, epoch)]

    def shares(self, by: str) -> dict[str, float]:
        """The share of an epoch that each "task" or "source" has, by name."""
        names, codes = (
            (self._rows.task_names, self._rows.tasks)
            if by == "task"
            else (self._rows.source_names, self._rows.sources)
        )
        sizes = np.bincount(self._part, minlength=len(self._visits))
        weight = np.divide(self._visits, sizes, out=np.zeros(len(sizes)), where=sizes > 0)
        visited = np.bincount(codes, weights=weight[self._part], minlength=len(names))
        shares = visited / max(visited.sum(), 1)
        found: dict[str, float] = {}
        for name, share in zip(names, shares.tolist(), strict=True):
            found[name] = found.get(name, 0.0) + share
        return found

    def _next(self, number: int, epoch: int) -> np.ndarray:
        """The rows of one part in one epoch, from its endless sequence of permutations."""
        members, visits = self._members[number], int(self._visits[number])
        if not visits:
            return members[:0]
        size = len(members)
        begin, end = epoch * visits, (epoch + 1) * visits
        first, last = begin // size, -(-end // size)
        if visits % size == 0:  # whole permutations, whose order is of no account
            return np.repeat(members, visits // size)
        # The last number is never 0, which would make it the same key without it.
        rounds = [
            members[_permutation(size, [self._seed, round_, number + 1])]
            for round_ in range(first, last)
        ]
        return np.concatenate(rounds)[begin - first * size : end - first * size]


def mix(config: MixtureConfig, rows: Rows, seed: int, total: int | None = None) -> Mixture:
    """The mixture that ``config`` and the sources' weights ask for.

    A part with a weight above 0 is visited at least once. With ``total`` an epoch has exactly as
    many rows, in the same proportions. Raises RequestError for settings that do not fit.
    """
    _check(config, rows)
    part, rates = _parts(config, rows)
    sizes = np.bincount(part, minlength=len(rates))
    wanted = sizes * rates
    if not wanted.sum() > 0:
        raise RequestError(
            "Nothing is left of the data: all weights of the mixture are 0.", "Raise one of them."
        )
    if total is not None:
        return Mixture(rows, part, _apportion(wanted * (total / wanted.sum()), total), seed)
    visits = _apportion(wanted, round(float(wanted.sum())))
    return Mixture(rows, part, np.where(wanted > 0, np.maximum(visits, 1), 0), seed)


def _check(config: MixtureConfig, rows: Rows) -> None:
    if config.cap is not None and config.method == "none":
        raise RequestError(
            "The mixture has a cap, but no method that would use it.",
            "Set data.mixture.method to proportional, temperature or equal.",
        )
    names = rows.task_names if config.by == "task" else rows.source_names
    if unknown := sorted(set(config.weights) - set(names)):
        listed = ", ".join(f"`{name}`" for name in sorted(set(names)) if name)
        raise RequestError(
            f"The mixture gives a weight to the {config.by} `{unknown[0]}`, which is not there.",
            f"There are {listed}." if listed else f"No row names a {config.by}.",
        )
    for name, weight in config.weights.items():
        if weight < 0:
            raise RequestError(f"The weight of `{name}` in the mixture is below 0 ({weight:g}).")


def _parts(config: MixtureConfig, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """The part of each row, int (rows,), and how often an epoch visits each part's rows.

    Parts are no finer than the settings need, so that no rounding adds up.
    """
    source_weights = np.asarray(rows.source_weights, dtype=np.float64)
    if config.method == "none" and not config.weights:
        return rows.sources, source_weights
    if config.by == "source":
        return rows.sources, source_weights * _balance(config, rows.sources, rows.source_names)
    balance = _balance(config, rows.tasks, rows.task_names)
    tasks = len(rows.task_names)
    pairs, part = np.unique(rows.sources.astype(np.int64) * tasks + rows.tasks, return_inverse=True)
    return part.reshape(-1), source_weights[pairs // tasks] * balance[pairs % tasks]


def _balance(config: MixtureConfig, codes: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """How often an epoch visits the rows of each task (or source), float (names,)."""
    sizes = np.bincount(codes, minlength=len(names)).astype(np.float64)
    counted = sizes if config.cap is None else np.minimum(sizes, config.cap)
    if config.method == "temperature":
        wanted = counted ** (1 / config.temperature)
    elif config.method == "equal":
        wanted = (counted > 0).astype(np.float64)
    else:
        wanted = counted
    # An epoch stays as long as the rows that count are many.
    wanted *= counted.sum() / max(wanted.sum(), 1e-300)
    rates = np.divide(wanted, sizes, out=np.zeros(len(sizes)), where=sizes > 0)
    return rates * np.array([config.weights.get(name, 1.0) for name in names])


def _apportion(wanted: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers close to ``wanted`` with the sum ``total`` (largest remainder)."""
    # Whole but for rounding errors is whole.
    near = np.rint(wanted)
    wanted = np.where(np.isclose(wanted, near, rtol=1e-12, atol=1e-9), near, wanted)
    visits = np.floor(wanted).astype(np.int64)
    missing = total - int(visits.sum())
    visits[np.argsort(visits - wanted, kind="stable")[: max(missing, 0)]] += 1
    return visits
