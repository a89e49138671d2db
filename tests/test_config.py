"""Settings: what is written can be read back, and what is wrong is said."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgetune import config as settings
from edgetune.errors import RequestError


@given(
    epochs=st.floats(0.01, 100),
    rank=st.integers(1, 512),
    rate=st.floats(1e-9, 1),
    steps=st.none() | st.integers(1, 10**6),
    name=st.none() | st.text(max_size=20),
    files=st.lists(st.text(max_size=30), max_size=3),
    comments=st.booleans(),
)
def test_written_settings_read_back_to_the_same(
    epochs: float,
    rank: int,
    rate: float,
    steps: int | None,
    name: str | None,
    files: list[str],
    comments: bool,
) -> None:
    config = settings.RunConfig(
        name=name,
        data=settings.DataConfig(train=files),
        adapter=settings.AdapterConfig(rank=rank),
        train=settings.TrainConfig(epochs=epochs, learning_rate=rate, steps=steps),
    )
    text = settings.to_yaml(config, comments=comments)
    assert settings.build(yaml.safe_load(text), "test") == config


def test_every_setting_has_a_sentence() -> None:
    text = settings.to_yaml(settings.RunConfig(), comments=True)
    for number, line in enumerate(text.splitlines()):
        if line.strip().startswith("#"):
            assert len(line) > 20, line
        elif not line.split(":", 1)[1].strip().startswith("#"):
            assert text.splitlines()[number - 1].strip().startswith("# "), line


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("train.learning_rate=2e-4", ("train", "learning_rate"), 2e-4),
        ("train.steps=7", ("train", "steps"), 7),
        ("train.steps=null", ("train", "steps"), None),
        ("name=a=b", ("name",), "a=b"),
        ("adapter.targets=[q_proj, v_proj]", ("adapter", "targets"), ["q_proj", "v_proj"]),
    ],
)
def test_set_reads_values_as_yaml(assignment: str, path: tuple[str, ...], value: Any) -> None:
    values: dict[str, Any] = {}
    settings.assign(values, assignment)
    for name in path:
        values = values[name]
    assert values == value


def test_all_wrong_settings_are_named_at_once() -> None:
    values = {"train": {"epochs": 0, "lerning_rate": 1}, "adapter": {"method": "magic"}}
    with pytest.raises(RequestError) as caught:
        settings.build(values, "run.yaml")
    for part in ("run.yaml", "train.epochs", "train.lerning_rate", "adapter.method"):
        assert part in str(caught.value)


def test_a_micro_batch_has_to_hold_the_longest_example() -> None:
    with pytest.raises(RequestError, match="micro_batch_tokens"):
        settings.build({"data": {"max_length": 9000}}, "test")
