"""Cross-entropy on the trained rows only, over packed examples that cannot see each other.

Two things make this work under any attention model of mlx-lm, with no change to the model:

- Models ask their cache for the attention mask and pass keys and values through it.
  ``PackedCache`` answers with a block-diagonal causal mask and returns its arguments. Rotary
  positions may run on across examples, since attention only sees their differences.
- The output head is wrapped so that it receives the hidden states of the trained rows alone:
  prompts and padding never reach the vocabulary-wide matrix.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgetune import device
from edgetune.data.packing import Batch, make_batches
from edgetune.data.template import Example
from edgetune.errors import RequestError

device.prepare()

import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
from mlx_lm.models.base import create_causal_mask  # noqa: E402

_ROW_BUCKET = 64
# Trained rows are padded up to a multiple of this, so that few shapes are traced.


class PackedCache:
    """Stands where a model expects a key-value cache, and keeps nothing.

    ``segments`` (rows, length) numbers the example that each token belongs to; 0 is padding.
    """

    offset = 0

    def __init__(self, segments: mx.array) -> None:
        self.segments = segments

    def make_mask(
        self, N: int, return_array: bool = False, window_size: int | None = None
    ) -> mx.array:
        """(rows, 1, N, N), True where a query may look: same example, not later, in the window."""
        same = self.segments[:, None, :, None] == self.segments[:, None, None, :]
        return same & create_causal_mask(N, window_size=window_size)

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        return keys, values


class Rows:
    """Which rows the head gets. An object of its own, because an array set on a module would
    count as one of the model's parameters."""

    value: mx.array | None = None

    def gather(self, x: mx.array) -> mx.array:
        return x if self.value is None else x.reshape(-1, x.shape[-1])[self.value][None]


class _GatheredEmbedding(nn.Embedding):
    """A tied embedding whose ``as_linear`` sees the chosen rows only."""

    def as_linear(self, x: mx.array) -> mx.array:
        return super().as_linear(self.rows.gather(x))


class _GatheredLinear(nn.Linear):
    """An untied head that sees the chosen rows only."""

    def __call__(self, x: mx.array) -> mx.array:
        return super().__call__(self.rows.gather(x))


def _head(model: nn.Module) -> nn.Module:
    """The module that turns hidden states into logits."""
    for wanted in ("lm_head", "embed_tokens"):
        for name, module in model.named_modules():
            if name.rpartition(".")[2] == wanted:
                return module
    raise RequestError("This model's output head is of a kind that edgetune cannot train through.")


def gathered_head(model: nn.Module) -> Rows:
    """Make the model's head gather; returns the object whose ``value`` chooses the rows.

    While ``value`` is None the model is as before; while it holds flat indices into rows × length
    the model returns logits of shape (1, len(value), vocabulary). Calling it again returns the
    same object. Raises RequestError for a head of another kind, such as a quantized one.
    """
    head = _head(model)
    if isinstance(head, (_GatheredEmbedding, _GatheredLinear)):
        return head.rows
    kinds = {nn.Embedding: _GatheredEmbedding, nn.Linear: _GatheredLinear}
    if type(head) not in kinds:
        raise RequestError(
            f"The output head is a {type(head).__name__}, which cannot be trained through.",
            "Use the unquantized model.",
        )
    head.rows = Rows()
    head.__class__ = kinds[type(head)]
    return head.rows


@dataclass(frozen=True)
class Arrays:
    """A batch on the device, with trained rows padded to a bucket."""

    tokens: mx.array
    """(rows, length) token ids."""
    segments: mx.array
    """(rows, length) example numbers, 0 for padding."""
    positions: mx.array
    """(n,) flat indices of the hidden states that predict a trained token."""
    targets: mx.array
    """(n,) the tokens they should predict."""
    weights: mx.array
    """(n,) how much each counts; 0 for the bucket's padding."""

    def as_tuple(self) -> tuple[mx.array, ...]:
        return self.tokens, self.segments, self.positions, self.targets, self.weights


def to_arrays(batch: Batch) -> Arrays:
    """Put a batch on the device."""
    # At least one bucket: what is left of a cut row may hold nothing to learn.
    padded = max(-(-batch.count // _ROW_BUCKET), 1) * _ROW_BUCKET
    pad = (0, padded - batch.count)
    return Arrays(
        tokens=mx.array(batch.tokens),
        segments=mx.array(batch.segments),
        positions=mx.array(np.pad(batch.positions, pad)),
        targets=mx.array(np.pad(batch.targets, pad)),
        weights=mx.array(np.pad(batch.weights, pad)),
    )


def summed_loss(model: nn.Module, rows: Rows, arrays: Sequence[mx.array]) -> mx.array:
    """Sum over the trained tokens of their weight times −ln p(token), a float32 scalar.

    The sum, not the mean: a step divides by the weights of all its micro-batches, so that
    accumulation changes nothing.
    """
    tokens, segments, positions, targets, weights = arrays
    cache = PackedCache(segments)
    rows.value = positions
    try:
        logits = model(tokens, cache=[cache] * len(model.layers))[0].astype(mx.float32)
    finally:
        rows.value = None
    chosen = mx.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    return ((mx.logsumexp(logits, axis=-1) - chosen) * weights).sum()


def number(scalar: mx.array) -> float:
    """The value of a real scalar, waiting for it to be computed."""
    value = scalar.item()
    assert isinstance(value, int | float)
    return float(value)


def mean_loss(model: nn.Module, batches: Iterable[Batch]) -> tuple[float, int]:
    """Mean loss per trained token over ``batches``, weighted, and the number of trained tokens."""
    total, weight, count = 0.0, 0.0, 0
    model.eval()
    rows = gathered_head(model)
    for batch in batches:
        total += number(summed_loss(model, rows, to_arrays(batch).as_tuple()))
        weight, count = weight + batch.weight, count + batch.count
    return total / weight if weight else 0.0, count


def held_out_loss(model: nn.Module, examples: Sequence[Example]) -> float:
    """Mean loss per trained token over examples of any length."""
    longest = max(len(example.ids) for example in examples)
    return mean_loss(model, make_batches(examples, max(longest, 4096), longest))[0]
