"""The figures: KLD, equal top tokens, and the limits they are held to."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.quantize.closeness import Closeness, compare, holds, limit_of


def _log(probabilities: list[list[float]]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(probabilities, dtype=np.float32))


def test_kld_is_the_sum_over_the_trained_models_probabilities() -> None:
    result = compare([(_log([[0.5, 0.25, 0.25]]), _log([[0.25, 0.5, 0.25]]))])
    assert result.kld_mean == pytest.approx(0.5 * math.log(2) + 0.25 * math.log(0.5), rel=1e-5)
    assert result.top1 == 0.0
    assert result.positions == 1


def test_impossible_tokens_of_the_trained_model_cost_nothing() -> None:
    result = compare([(_log([[0.5, 0.5, 0.0]]), np.zeros((1, 3), np.float32))])
    assert result.kld_mean == pytest.approx(math.log(1.5), rel=1e-5)


@given(st.integers(0, 2**32 - 1), st.floats(-50, 50))
def test_logits_may_be_shifted_and_divergence_is_never_negative(seed: int, shift: float) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(100, 7)) * 3
    assert compare([(logits, logits + shift)]).kld_mean < 1e-9
    other = compare([(logits, random.normal(size=(100, 7)))])
    assert 0 <= other.kld_mean <= other.kld_p999


def test_ties_count_as_agreement() -> None:
    trained = _log([[0.4, 0.4, 0.2]])
    found = trained + np.array([[0.0, 1e-6, 0.0]], dtype=np.float32)
    assert compare([(trained, found)]).top1 == 1.0


def test_values_that_are_no_numbers_never_hold() -> None:
    found = np.zeros((2, 3), np.float32)
    found[1, 1] = np.nan
    result = compare([(np.zeros((2, 3), np.float32), found)])
    assert not result.finite
    assert not holds(result, limit_of({"Q2_K": 1}))


def test_a_file_is_held_to_what_it_consists_of() -> None:
    names = ["F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_1", "Q4_K", "Q3_K", "Q2_K"]
    limits = [limit_of({name: 1}) for name in names]
    assert [limit.kld for limit in limits] == sorted(limit.kld for limit in limits)
    mixed = limit_of({"Q8_0": 300, "F16": 100})
    assert mixed.kld == pytest.approx((3 * 0.02 + 1e-4) / 4)


def test_few_positions_may_miss_the_share_of_top_tokens_but_not_in_full_precision() -> None:
    def figures(positions: int, wrong: int) -> Closeness:
        return Closeness(positions, 1 - wrong / positions, 0.0, 0.0, True)

    assert holds(figures(20, 1), limit_of({"F16": 1}))
    assert not holds(figures(2000, 100), limit_of({"F16": 1}))
    assert not holds(figures(2000, 1), limit_of({"F32": 1}))
