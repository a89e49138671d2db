"""How many steps a run takes, known without any accelerator library."""

import math
from dataclasses import dataclass
from typing import Any

from edgetune.config import TrainConfig
from edgetune.data.dataset import Dataset


@dataclass(frozen=True)
class Schedule:
    """Steps and intervals of a run."""

    steps: int
    steps_per_epoch: int
    validate_every: int


def schedule(config: TrainConfig, rows_per_epoch: int) -> Schedule:
    """What ``config`` makes of epochs with so many rows."""
    per_epoch = math.ceil(rows_per_epoch / config.batch_size)
    steps = config.steps or max(1, round(config.epochs * per_epoch))
    every = config.validate_every or max(1, math.ceil(steps / 10))
    return Schedule(steps, per_epoch, every)


def forecast(config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    """What a run will go through, for the report: steps, epochs, and tokens in all, as far as
    later epochs are like the first."""
    found = schedule(config, dataset.mixture.rows_per_epoch)
    epochs = found.steps / found.steps_per_epoch
    per_epoch = dataset.tokens_per_epoch()
    return {
        "epochs": round(epochs, 4),
        "steps": found.steps,
        "steps_per_epoch": found.steps_per_epoch,
        "batch_size": config.batch_size,
        "tokens": round(per_epoch["tokens"] * epochs),
        "trained_tokens": round(per_epoch["trained_tokens"] * epochs),
    }
