"""The optimizer and its learning rate."""

import math

from edgetune import device
from edgetune.config import TrainConfig

device.prepare()

import mlx.core as mx  # noqa: E402
import mlx.optimizers as optimizers  # noqa: E402


def create(config: TrainConfig) -> optimizers.Optimizer:
    """AdamW with bias correction (Loshchilov & Hutter 2019); LoRA has neither norms nor biases,
    so the weight decay applies to every trained matrix."""
    return optimizers.AdamW(
        learning_rate=0.0,  # set before each step, from the schedule
        betas=[0.9, 0.999],
        weight_decay=config.weight_decay,
        bias_correction=True,
    )


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Rate of step ``step`` (1 … ``steps``): linear warm-up to the peak, then a cosine down to
    ``final_lr_ratio`` of it at the last step."""
    warmup = round(config.warmup_ratio * steps)
    if step <= warmup:
        return config.learning_rate * step / (warmup + 1)
    share = (step - warmup - 1) / max(steps - warmup - 1, 1)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    ratio = config.final_lr_ratio + (1 - config.final_lr_ratio) * cosine
    return config.learning_rate * ratio


def clip(gradients: dict[str, mx.array], limit: float) -> tuple[dict[str, mx.array], mx.array]:
    """Scale the gradients so that their global norm is at most ``limit``; also returns the norm
    before. A norm that is no number passes through, for the caller to see."""
    # By name, since the order of a sum decides its last bits and a dictionary's order does not
    # survive a checkpoint.
    squares = [mx.square(gradients[name]).sum() for name in sorted(gradients)]
    norm = mx.sqrt(sum(squares[1:], squares[0]))
    factor = mx.minimum(1.0, limit / (norm + 1e-12))
    return {name: value * factor for name, value in gradients.items()}, norm
