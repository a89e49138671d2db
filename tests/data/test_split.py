"""What is held out: stable, whole, never everything, and nothing on both sides unsaid."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data.conversation import Conversation, Message, content_digest
from edgetune.data.split import by_group, by_row, by_task, held_out, leaks, places, stack
from edgetune.errors import RequestError


def conversation(number: int) -> Conversation:
    return Conversation((Message("user", f"q{number}"), Message("assistant", f"a{number}")))


def digests(numbers: list[int], seed: int = 0) -> np.ndarray:
    return stack(content_digest(conversation(number), seed) for number in numbers)


fractions = st.floats(0, 1, exclude_max=True)
seeds = st.integers(0, 9)


@given(st.lists(st.integers(0, 40), max_size=60), fractions, seeds)
def test_the_split_by_row_is_the_one_that_older_runs_were_made_with(
    numbers: list[int], fraction: float, seed: int
) -> None:
    # As it was written out before whole arrays were split: a resumed run needs the same rows.
    found = [
        (int.from_bytes(content_digest(conversation(n), seed)[:8], "little") >> 11) / 2**53
        for n in numbers
    ]
    distinct = sorted(set(found))
    expected = [False] * len(numbers)
    if fraction > 0 and len(distinct) > 1:
        border = min(max(fraction, np.nextafter(distinct[0], 1)), distinct[-1])
        expected = [place < border for place in found]
    assert by_row(digests(numbers, seed), fraction).tolist() == expected


def test_the_split_by_row_never_changes_between_versions() -> None:
    held = by_row(digests(list(range(60)), 0), 0.1)
    assert np.flatnonzero(held).tolist() == PINNED


PINNED = [9, 21, 23, 24, 42, 44, 49, 55]


@given(st.lists(st.integers(0, 40), max_size=60), fractions, seeds)
def test_a_split_by_row_leaks_nothing(numbers: list[int], fraction: float, seed: int) -> None:
    rows = digests(numbers, seed)
    valid = held_out("row", fraction, seed, digests=rows)
    assert leaks(rows, valid) == []
    if fraction > 0 and len(set(numbers)) > 1:
        assert 0 < valid.sum() < len(numbers)
    else:
        assert not valid.any()


names = st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), min_size=1, max_size=40)


@given(names, st.floats(0.01, 0.99), seeds)
def test_tasks_are_held_out_whole_and_never_all(
    tasks: list[str], fraction: float, seed: int
) -> None:
    if not any(tasks) or len(set(tasks)) == 1:
        with pytest.raises(RequestError, match="cannot be split by task"):
            by_task(tasks, fraction, seed)
        return
    valid = by_task(tasks, fraction, seed)
    held = {task for task, out in zip(tasks, valid, strict=True) if out}
    kept = {task for task, out in zip(tasks, valid, strict=True) if not out}
    assert held and kept
    assert not held & kept
    assert "" not in held


def test_about_the_fraction_of_the_tasks_is_held_out() -> None:
    tasks = [f"task {n}" for n in range(1000)] * 2
    for seed in range(3):
        assert 70 < by_task(tasks, 0.1, seed).sum() / 2 < 130
    assert (by_task(tasks, 0.1, 0) != by_task(tasks, 0.1, 1)).any()


def test_named_tasks_are_held_out_and_unknown_ones_refused() -> None:
    tasks = ["a", "b", "", "a"]
    rows = digests([1, 2, 3, 4])
    valid = held_out("row", 0.5, 0, digests=rows, tasks=tasks, valid_tasks=["a"])
    assert valid.tolist() == [True, False, False, True]
    with pytest.raises(RequestError, match=r"`z` that is to be held out\. The tasks are `a`, `b`"):
        held_out("task", 0.5, 0, digests=rows, tasks=tasks, valid_tasks=["z", "a"])
    with pytest.raises(RequestError, match="none is left to train on"):
        held_out("task", 0.5, 0, digests=rows[:2], tasks=["a", "a"], valid_tasks=["a"])
    with pytest.raises(RequestError, match="by group and by named tasks at once"):
        held_out("group", 0.5, 0, digests=rows, tasks=tasks, groups=tasks, valid_tasks=["a"])


groups = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["", "x", "y", "z"])), max_size=40)


@given(groups, fractions, seeds)
def test_groups_stay_together_and_rows_without_one_go_by_content(
    rows: list[tuple[int, str]], fraction: float, seed: int
) -> None:
    found = digests([number for number, _ in rows], seed)
    of = [group for _, group in rows]
    if fraction > 0 and not any(of):
        with pytest.raises(RequestError, match="cannot be split by group"):
            by_group(found, of, fraction, seed)
        return
    valid = by_group(found, of, fraction, seed)
    sides: dict[object, set[bool]] = {}
    for (number, group), out in zip(rows, valid.tolist(), strict=True):
        sides.setdefault(group or number, set()).add(out)
    assert all(len(side) == 1 for side in sides.values())
    if fraction > 0 and len(sides) > 1:
        assert 0 < valid.sum() < len(rows)


def test_the_same_content_in_two_tasks_is_reported_and_stays() -> None:
    rows = digests([1, 2, 1, 3, 1])
    valid = held_out(
        "task", 0.5, 0, digests=rows, tasks=["a", "a", "b", "b", "b"], valid_tasks=["b"]
    )
    assert valid.tolist() == [False, False, True, True, True]
    assert leaks(rows, valid) == [(2, 0), (4, 0)]
    # The first of several training rows is named.
    assert leaks(digests([1, 1, 1]), np.array([False, False, True])) == [(2, 0)]


@pytest.mark.parametrize(
    "split",
    [
        lambda n: by_row(digests(list(range(n)), 3), 0.1),
        lambda n: by_task([f"t{i % 90}" for i in range(n)], 0.1, 3),
        lambda n: by_group(
            digests(list(range(n)), 3), [f"g{i // 7}" if i % 2 else "" for i in range(n)], 0.1, 3
        ),
    ],
    ids=["row", "task", "group"],
)
def test_rows_added_later_move_none_of_the_others(split: Callable[[int], np.ndarray]) -> None:
    whole = split(900)
    for n in (300, 500, 899):
        assert (split(n) == whole[:n]).all()
    assert whole.any()


def test_a_new_task_moves_none_of_the_others() -> None:
    old = [f"t{i}" for i in range(60)]
    before = by_task(old, 0.2, 5)
    assert (by_task([*old, *(f"new{i}" for i in range(40))], 0.2, 5)[:60] == before).all()


def test_places_are_spread_evenly_below_one() -> None:
    lies = places(digests(list(range(4000))))
    assert lies.min() >= 0 and lies.max() < 1
    tenths = Counter((lies * 10).astype(int).tolist())
    assert all(300 < tenths[tenth] < 500 for tenth in range(10))
    assert places(np.full((1, 16), 255, dtype=np.uint8))[0] < 1


def test_millions_of_rows_are_split_in_little_time() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (1_000_000, 16), dtype=np.uint8)
    valid = by_row(rows, 0.01)
    assert 9_000 < valid.sum() < 11_000
    assert leaks(rows, valid) == []


def test_nothing_to_split_is_split_into_nothing() -> None:
    none = digests([])
    assert held_out("row", 0.5, 0, digests=none).shape == (0,)
    assert leaks(none, np.zeros(0, dtype=bool)) == []
