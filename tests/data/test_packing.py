"""Packing loses nothing, mixes nothing and keeps to its limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data.packing import make_batches, pack, row_lengths
from edgetune.data.template import Example


def example(length: int, first: int = 0, weights: np.ndarray | None = None) -> Example:
    chosen = (np.arange(length) > 0).astype(np.float32) if weights is None else weights
    return Example(np.arange(first, first + length, dtype=np.int32), chosen, "", "", 0)


def random_weights(random: np.random.Generator, length: int) -> np.ndarray:
    """About half of the tokens trained, by weights of a few sizes."""
    sizes = np.array([0, 0, 0, 1, 1, 0.25], np.float32)
    return sizes[random.integers(0, len(sizes), length)]


@st.composite
def steps(draw: st.DrawFn) -> tuple[list[Example], int, int]:
    """Examples with unique token ids, a maximum length and a micro-batch size that fit."""
    max_length = draw(st.integers(1, 700))
    lengths = draw(st.lists(st.integers(1, max_length), min_size=1, max_size=30))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    examples = [
        example(length, 1 + index * 1000, random_weights(random, length))
        for index, length in enumerate(lengths)
    ]
    return examples, max_length, draw(st.integers(max_length, 4 * max_length + 64))


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 120))
def test_every_example_lies_in_exactly_one_row_that_has_room(
    lengths: list[int], row_length: int
) -> None:
    rows = pack(lengths, row_length)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[i] for i in row) <= row_length for row in rows)
    assert rows == pack(lengths, row_length)
    # First-fit: no two rows could be joined.
    sums = sorted(sum(lengths[i] for i in row) for row in rows)
    assert len(sums) < 2 or sums[0] + sums[1] > row_length


def test_an_example_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="not within"):
        pack([3, 11], 10)


@given(st.integers(1, 5000), st.integers(0, 5000))
def test_row_lengths_are_few_multiples_of_64_up_to_the_limit(longest: int, more: int) -> None:
    limit = longest + more
    found = row_lengths(longest, limit)
    assert found == sorted(set(found))
    assert found[-1] == limit
    assert all(length % 64 == 0 and longest <= length for length in found[:-1])
    assert len(found) <= 4 * limit.bit_length()


@given(steps())
def test_batches_hold_every_example_whole_and_apart(step: tuple[list[Example], int, int]) -> None:
    examples, max_length, micro = step
    found: list[tuple[int, ...]] = []
    for batch in make_batches(examples, micro, max_length):
        rows, length = batch.tokens.shape
        assert rows * length <= micro
        assert batch.segments.shape == (rows, length)
        for row in range(rows):
            segments = batch.segments[row]
            number = int(segments.max())
            # 1, 2, … in order without holes, padding only at the end.
            assert number > 0
            assert [s for s in dict.fromkeys(segments.tolist()) if s] == list(range(1, number + 1))
            assert (np.diff(np.flatnonzero(segments)) == 1).all()
            assert not batch.tokens[row][segments == 0].any()
            for segment in range(1, number + 1):
                found.append(tuple(batch.tokens[row][segments == segment].tolist()))
    assert sorted(found) == sorted(tuple(e.ids.tolist()) for e in examples)


@given(steps())
def test_each_trained_token_is_a_target_once_predicted_from_its_own_example(
    step: tuple[list[Example], int, int],
) -> None:
    examples, max_length, micro = step
    targets: list[tuple[int, float]] = []
    for batch in make_batches(examples, micro, max_length):
        assert batch.count == len(batch.positions) == len(batch.targets) == len(batch.weights)
        assert batch.weights.dtype == np.float32
        assert batch.weight == batch.weights.sum(dtype=np.float64)
        assert all(
            array.dtype == np.int32
            for array in (batch.tokens, batch.segments, batch.positions, batch.targets)
        )
        tokens, segments = batch.tokens.reshape(-1), batch.segments.reshape(-1)
        assert (tokens[batch.positions + 1] == batch.targets).all()
        assert (segments[batch.positions + 1] == segments[batch.positions]).all()
        targets += zip(batch.targets.tolist(), batch.weights.tolist(), strict=True)
    expected = [
        (int(token), float(weight))
        for e in examples
        for token, weight in zip(e.ids[1:], e.weights[1:], strict=True)
        if weight
    ]
    assert sorted(targets) == sorted(expected)


def test_little_is_padding_for_typical_lengths() -> None:
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(4.6, 0.7, 400), 16, 1024).astype(int)
    used = sum(int(n) for n in lengths)
    steps = [lengths[i : i + 8] for i in range(0, len(lengths), 8)]
    batches = [b for s in steps for b in make_batches([example(int(n)) for n in s], 4096, 1024)]
    padded = sum(b.tokens.size for b in batches)
    assert used / padded > 0.88
    assert len({b.tokens.shape for b in batches}) < 25


def test_nothing_gives_no_batches_and_limits_that_contradict_are_refused() -> None:
    assert make_batches([], 100, 100) == []
    with pytest.raises(ValueError, match="max_length"):
        make_batches([example(20)], 100, 10)
    with pytest.raises(ValueError, match="micro_batch_tokens"):
        make_batches([example(20)], 32, 64)
