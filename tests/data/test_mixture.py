"""Epochs hold what the weights say, evenly, and always the same for one seed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.config import MixtureConfig
from edgetune.data.mixture import Mixture, Rows, epoch_order, mix
from edgetune.errors import RequestError

NAMES = ["a", "b", "c"]


def rows(
    sources: list[int], tasks: list[int] | None = None, weights: list[float] | None = None
) -> Rows:
    number = max(sources, default=-1) + 1
    return Rows(
        np.array(tasks if tasks is not None else [0] * len(sources), dtype=np.int64),
        NAMES,
        np.array(sources, dtype=np.int64),
        [f"s{n}" for n in range(number)],
        weights or [1.0] * number,
    )


def counts(mixture: Mixture, of: Rows, epoch: int = 0) -> list[int]:
    """Rows of each task in one epoch."""
    found = np.bincount(of.tasks[mixture.order(epoch)], minlength=len(NAMES))
    return [int(count) for count in found]


def test_the_order_of_an_epoch_never_changes_between_versions() -> None:
    # Resuming a run needs the order that it began with.
    assert epoch_order(8, 0, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    of = rows([0] * 3 + [1] * 4, weights=[0.5, 1.5])
    mixture = mix(MixtureConfig(), of, 7)
    assert [mixture.order(epoch).tolist() for epoch in range(3)] == PINNED


PINNED = [[6, 4, 5, 1, 3, 6, 5, 2], [2, 3, 3, 6, 4, 4, 0, 5], [5, 4, 0, 5, 6, 1, 4, 3]]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=80),
    st.integers(0, 2**40),
    st.integers(0, 5),
)
def test_weights_of_one_leave_the_order_as_it_is_without_a_mixture(
    parts: list[tuple[int, int]], seed: int, epoch: int
) -> None:
    of = rows([source for source, _ in parts], [task for _, task in parts])
    expected = epoch_order(len(parts), seed, epoch)
    for config in (
        MixtureConfig(),
        MixtureConfig(method="proportional", cap=1000),
        MixtureConfig(method="temperature", temperature=1),
        MixtureConfig(weights={"a": 1.0}),
    ):
        assert (mix(config, of, seed).order(epoch) == expected).all()


weights = st.lists(st.floats(0.05, 4), min_size=3, max_size=3)


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=50),
    weights,
    st.integers(0, 9),
    st.integers(1, 9),
)
def test_rows_of_a_part_are_visited_equally_often_to_within_one(
    sources: list[int], factors: list[float], seed: int, epochs: int
) -> None:
    of = rows(sources, weights=factors[: max(sources) + 1])
    mixture = mix(MixtureConfig(), of, seed)
    visits = np.zeros(len(sources), dtype=int)
    for epoch in range(epochs):
        order = mixture.order(epoch)
        assert len(order) == mixture.rows_per_epoch
        visits += np.bincount(order, minlength=len(sources))
    for source in set(sources):
        size = sources.count(source)
        own = visits[of.sources == source]
        per_epoch = own.sum() / epochs
        assert abs(per_epoch - factors[source] * size) <= 1
        assert own.max() - own.min() <= 1
        assert own.min() == int(own.sum()) // size


@given(st.lists(st.integers(0, 2), min_size=1, max_size=50), weights, st.integers(0, 9))
def test_an_epoch_follows_from_seed_and_number_alone(
    sources: list[int], factors: list[float], seed: int
) -> None:
    of = rows(sources, weights=factors[: max(sources) + 1])
    forward, backward = mix(MixtureConfig(), of, seed), mix(MixtureConfig(), of, seed)
    orders = [forward.order(epoch) for epoch in range(4)]
    for epoch in reversed(range(4)):
        assert (backward.order(epoch) == orders[epoch]).all()


def test_half_a_weight_takes_the_other_half_in_the_next_epoch() -> None:
    mixture = mix(MixtureConfig(), rows([0] * 10, weights=[0.5]), 3)
    first, second = set(mixture.order(0).tolist()), set(mixture.order(1).tolist())
    assert len(first) == len(second) == 5
    assert first | second == set(range(10))
    assert set(mixture.order(2).tolist()) != first  # drawn anew


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (MixtureConfig(method="proportional", cap=100), [100, 100, 10]),
        (MixtureConfig(method="proportional"), [800, 190, 10]),
        (MixtureConfig(method="equal"), [333, 333, 333]),
        (MixtureConfig(method="equal", cap=100), [70, 70, 70]),
        # Square roots of 800, 190 and 10 are as 28.28, 13.78 and 3.16.
        (MixtureConfig(method="temperature", temperature=2), [625, 305, 70]),
        (MixtureConfig(method="temperature", temperature=1, cap=100), [100, 100, 10]),
        (MixtureConfig(weights={"b": 2, "c": 0}), [800, 380, 0]),
        (MixtureConfig(method="proportional", cap=100, weights={"c": 5}), [100, 100, 50]),
    ],
)
def test_methods_balance_tasks_as_published(config: MixtureConfig, expected: list[int]) -> None:
    of = rows([0] * 1000, [0] * 800 + [1] * 190 + [2] * 10)
    mixture = mix(config, of, 0)
    found = counts(mixture, of)
    assert all(abs(a - b) <= 1 for a, b in zip(found, expected, strict=True))
    shares = mixture.shares("task")
    assert list(shares) == NAMES
    for share, count in zip(shares.values(), found, strict=True):
        assert share == pytest.approx(count / sum(found))


def test_sources_are_balanced_by_their_path_and_their_weight() -> None:
    of = rows([0] * 90 + [1] * 10, weights=[1.0, 2.0])
    mixture = mix(MixtureConfig(method="equal", by="source"), of, 0)
    assert mixture.shares("source") == pytest.approx({"s0": 1 / 3, "s1": 2 / 3})
    assert mixture.rows_per_epoch == 150
    renamed = mix(MixtureConfig(by="source", weights={"s1": 3}), of, 0)
    assert renamed.shares("source") == pytest.approx({"s0": 0.6, "s1": 0.4})


def test_a_task_in_two_sources_is_weighed_by_both() -> None:
    of = rows([0] * 20 + [1] * 20, [0] * 10 + [1] * 10 + [0] * 10 + [1] * 10, [1.0, 3.0])
    mixture = mix(MixtureConfig(weights={"b": 0.5}), of, 0)
    order = mixture.order(0)
    found = {
        (source, task): int(((of.sources[order] == source) & (of.tasks[order] == task)).sum())
        for source in (0, 1)
        for task in (0, 1)
    }
    assert found == {(0, 0): 10, (0, 1): 5, (1, 0): 30, (1, 1): 15}


def test_small_parts_are_never_rounded_away() -> None:
    of = rows([0] * 1000, [0] * 999 + [1])
    mixture = mix(MixtureConfig(weights={"b": 0.01}), of, 0)
    assert counts(mixture, of) == [999, 1, 0]


def test_many_small_tasks_do_not_add_up_their_rounding() -> None:
    of = Rows(
        np.repeat(np.arange(500), 3),
        [f"t{n}" for n in range(500)],
        np.zeros(1500, dtype=np.int64),
        ["s"],
        [0.5],
    )
    assert mix(MixtureConfig(), of, 0).rows_per_epoch == 750
    assert mix(MixtureConfig(method="proportional", cap=3), of, 0).rows_per_epoch == 750


@given(st.integers(1, 300), weights)
def test_a_wanted_number_of_rows_is_met_exactly(total: int, factors: list[float]) -> None:
    of = rows([0] * 7 + [1] * 30 + [2] * 3, weights=factors)
    mixture = mix(MixtureConfig(), of, 0, total)
    assert mixture.rows_per_epoch == len(mixture.order(0)) == total
    weighed = np.array(factors) * [7, 30, 3]
    found = np.array(list(mixture.shares("source").values())) * total
    assert np.abs(found - weighed / weighed.sum() * total).max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cap": 10}, "a cap, but no method"),
        ({"weights": {"nobody": 2}}, "`nobody`, which is not there. There are `a`, `b`"),
        ({"weights": {"a": -1}}, "below 0"),
        ({"weights": {"a": 0, "b": 0}}, "all weights of the mixture are 0"),
        ({"weights": {"a": 1}, "by": "source"}, "the source `a`, which is not there"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        mix(MixtureConfig(**settings), rows([0, 0], [0, 1]), 0)
