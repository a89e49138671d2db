"""The training rows or the validation rows of a run, read from the disk as they are needed."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgetune.data.conversation import Conversation
from edgetune.data.mixture import Rows
from edgetune.data.template import Example
from edgetune.data.tokens.store import Store
from edgetune.data.tokens.tokenized import Tokenized


class Part(Sequence[list[Example]]):
    """Rows of a run, for training or for validation: each a list of examples, read from the disk
    when it is asked for."""

    def __init__(self, tokenized: Sequence[Tokenized], rows: np.ndarray, max_length: int) -> None:
        """``rows``: int64, ascending, numbers of rows counted through all of ``tokenized``."""
        self.tokenized = list(tokenized)
        self.rows = rows
        self._max_length = max_length
        self._begins = row_begins(tokenized)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = int(self.rows[index])
        source = int(np.searchsorted(self._begins, number, side="right")) - 1
        examples = self.tokenized[source].store.row(number - int(self._begins[source]))
        return within(examples, self._max_length)

    def examples(self) -> Iterator[Example]:
        """All examples in order, one in memory at a time."""
        for row in self:
            yield from row

    def conversations(self) -> Iterator[Conversation]:
        """The conversations that the rows were made from, read from their files once more.

        Raises RequestError if a file is no longer what it was.
        """
        for number, one in enumerate(self.tokenized):
            own = self._own(number)
            if not len(own):
                continue
            wanted = np.zeros(len(one.store), dtype=bool)
            wanted[own] = True
            for index, conversation in enumerate(one.conversations()):
                if wanted[index]:
                    yield conversation

    def lengths(self) -> dict[str, np.ndarray]:
        """Arrays over all examples, int64: ``row`` (its position in this part), ``length`` and
        ``trained`` (tokens within the length limit), ``cut`` (tokens beyond it)."""
        found: dict[str, list[np.ndarray]] = {
            key: [np.zeros(0, np.int64)] for key in ("row", "length", "trained", "cut")
        }
        begin = 0
        for number, one in enumerate(self.tokenized):
            own, store = self._own(number), one.store
            numbers, of_row = _examples_of(store, own)
            length = store.examples["length"][numbers].astype(np.int64)
            trained = store.examples["trained"][numbers].astype(np.int64)
            for place in np.flatnonzero(length > self._max_length):
                weights = store.weights(int(numbers[place]))[: self._max_length]
                trained[place] = np.count_nonzero(weights)
            kept = trained > 0
            within = np.minimum(length, self._max_length)
            found["row"].append((begin + of_row)[kept])
            found["length"].append(within[kept])
            found["trained"].append(trained[kept])
            found["cut"].append((length - within)[kept])
            begin += len(own)
        return {key: np.concatenate(arrays) for key, arrays in found.items()}

    def figures(self) -> dict[str, int]:
        """Rows, examples where they are more, tokens, trained tokens, the longest in tokens."""
        lengths = self.lengths()
        examples = len(lengths["length"])
        return {
            "rows": len(self),
            **({"examples": examples} if examples != len(self) else {}),
            "tokens": int(lengths["length"].sum()),
            "trained_tokens": int(lengths["trained"].sum()),
            "longest": int(lengths["length"].max(initial=0)),
        }

    def digest(self) -> str:
        """Of all ids, weights and rows, wherever they are kept; the length limit does not count."""
        names = ("counts", "lengths", "span_counts", "ids", "spans")
        streams = {name: hashlib.blake2b(digest_size=16) for name in names}
        for number, one in enumerate(self.tokenized):
            own, store = self._own(number), one.store
            numbers, of_row = _examples_of(store, own)
            counts = np.bincount(of_row, minlength=len(own))
            streams["counts"].update(counts.astype("<i8").tobytes())
            streams["lengths"].update(store.examples["length"][numbers].tobytes())
            streams["span_counts"].update(store.examples["span_count"][numbers].tobytes())
            for ids, spans in store.blocks(numbers):
                streams["ids"].update(ids.tobytes())
                streams["spans"].update(spans.tobytes())
        whole = b"".join(stream.digest() for stream in streams.values())
        return hashlib.blake2b(whole, digest_size=16).hexdigest()

    def task_names(self) -> list[str]:
        """Names of the tasks in all sources, each once."""
        return list(dict.fromkeys(name for one in self.tokenized for name in one.store.tasks))

    def codes(self) -> Rows:
        """Of which task and source each row is."""
        names = self.task_names()
        tasks, origins = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number, one in enumerate(self.tokenized):
            own = self._own(number)
            codes = np.array([names.index(task) for task in one.store.tasks], np.int64)
            tasks.append(codes[one.store.rows["task"][own]] if len(own) else tasks[0])
            origins.append(np.full(len(own), number, np.int64))
        return Rows(
            np.concatenate(tasks),
            names,
            np.concatenate(origins),
            [one.source.path for one in self.tokenized],
            [one.source.weight for one in self.tokenized],
        )

    def _own(self, number: int) -> np.ndarray:
        """The rows of this part in the store ``number``, counted within it."""
        first, last = np.searchsorted(self.rows, self._begins[number : number + 2])
        own: np.ndarray = self.rows[first:last] - self._begins[number]
        return own


def row_begins(tokenized: Sequence[Tokenized]) -> np.ndarray:
    """The number of the first row of each store, and behind them the number of all rows."""
    return np.cumsum([0, *(len(one.store) for one in tokenized)])


def within(examples: Sequence[Example], limit: int) -> list[Example]:
    """The examples cut to ``limit`` tokens, without those of which nothing is left to learn."""
    cut = []
    for example in examples:
        if len(example.ids) > limit:
            ids, weights = example.ids[:limit], example.weights[:limit]
            if not weights.any():
                continue
            example = replace(example, ids=ids, weights=weights)
        cut.append(example)
    return cut


def _examples_of(store: Store, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the examples of ``rows``, and for each the position of its row in ``rows``."""
    counts = store.rows["count"][rows].astype(np.int64)
    of_row = np.repeat(np.arange(len(rows)), counts)
    before = np.cumsum(counts) - counts
    numbers = store.rows["first"][rows][of_row] + np.arange(len(of_row)) - before[of_row]
    return numbers, of_row
