"""Examples -> micro-batches of few different shapes, several examples to a row.

Examples are packed into rows by first-fit decreasing (Johnson 1973: at most 11/9 of the optimal
number of rows). The row length is chosen per step from a short list, so that little is padding
and the same shapes come back, which a compiled graph wants. ``segments`` says which tokens belong
together; attention must not cross it. Packing changes the speed, never the objective.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgetune.data.template import Example

_MULTIPLE = 64


@dataclass(frozen=True)
class Batch:
    """A micro-batch; all arrays but ``weights`` are int32."""

    tokens: np.ndarray
    """Token ids, (rows, length); padding is 0."""
    segments: np.ndarray
    """(rows, length): 0 for padding, 1, 2, … for the examples of a row."""
    positions: np.ndarray
    """(count,): indices into the flattened rows × length; the token after each is trained."""
    targets: np.ndarray
    """(count,): those next tokens."""
    weights: np.ndarray
    """(count,), float32: how much each of them counts in the loss, above 0."""

    @property
    def count(self) -> int:
        """Number of trained tokens."""
        return len(self.targets)

    @property
    def weight(self) -> float:
        """Sum of the trained tokens' weights; their number where all weigh 1."""
        return float(self.weights.sum(dtype=np.float64))


def pack(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Distribute examples over rows: indices into ``lengths``, each exactly once.

    First-fit decreasing; equal lengths keep their order, so the result depends on nothing but
    the arguments. Raises ValueError for a length below 1 or above ``row_length``.
    """
    if any(not 1 <= length <= row_length for length in lengths):
        raise ValueError(f"a length is not within 1 … {row_length}: {sorted(lengths)}")
    rows: list[list[int]] = []
    room = np.zeros(len(lengths), dtype=np.int64)
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = room[: len(rows)] >= lengths[index]
        row = int(fits.argmax()) if fits.any() else len(rows)
        if row == len(rows):
            rows.append([])
            room[row] = row_length
        rows[row].append(index)
        room[row] -= lengths[index]
    return rows


def row_lengths(longest: int, limit: int) -> list[int]:
    """The row lengths to choose from: multiples of 64, at most four to an octave, from
    ``longest`` up to ``limit``, which is one of them itself."""
    buckets = {
        -(-int(_MULTIPLE * step) // _MULTIPLE) * _MULTIPLE
        for octave in range(limit.bit_length())
        for step in (2**octave, 1.25 * 2**octave, 1.5 * 2**octave, 1.75 * 2**octave)
    }
    return sorted({length for length in buckets if longest <= length < limit} | {limit})


def make_batches(
    examples: Sequence[Example], micro_batch_tokens: int, max_length: int
) -> list[Batch]:
    """The micro-batches of one step: every example once, whole, in rows of one length.

    rows × length of a batch is at most ``micro_batch_tokens``; no example may be longer than
    ``max_length``, nor that longer than ``micro_batch_tokens`` (ValueError).
    """
    if not examples:
        return []
    lengths = [len(example.ids) for example in examples]
    if max(lengths) > max_length or max_length > micro_batch_tokens:
        raise ValueError(
            f"longest example {max(lengths)}, max_length {max_length}, "
            f"micro_batch_tokens {micro_batch_tokens}"
        )
    limit = min(-(-max_length // _MULTIPLE) * _MULTIPLE, micro_batch_tokens)
    packed = {length: pack(lengths, length) for length in row_lengths(max(lengths), limit)}
    # Least padding; of equals the shortest row, as attention is quadratic in it.
    length = min(packed, key=lambda candidate: (len(packed[candidate]) * candidate, candidate))
    rows = packed[length]
    # Spread evenly, so that the batches of a step have one shape or two that are close.
    batches = -(-len(rows) // (micro_batch_tokens // length))
    share = -(-len(rows) // batches)
    return [
        _batch([[examples[i] for i in row] for row in rows[start : start + share]], length)
        for start in range(0, len(rows), share)
    ]


def _batch(rows: Sequence[Sequence[Example]], length: int) -> Batch:
    tokens = np.zeros((len(rows), length), dtype=np.int32)
    segments = np.zeros((len(rows), length), dtype=np.int32)
    weights = np.zeros((len(rows), length), dtype=np.float32)
    for index, row in enumerate(rows):
        start = 0
        for segment, example in enumerate(row, 1):
            end = start + len(example.ids)
            tokens[index, start:end] = example.ids
            segments[index, start:end] = segment
            weights[index, start:end] = example.weights
            # A first token would be predicted from the example before it.
            weights[index, start] = 0
            start = end
    learned = np.flatnonzero(weights).astype(np.int32)
    return Batch(
        tokens,
        segments,
        learned - 1,
        tokens.reshape(-1)[learned],
        weights.reshape(-1)[learned],
    )
