"""Which rows may be nearly the same: MinHash signatures of their word pairs, and who agrees.

A signature is 72 bytes, the low byte of each of 72 minima (b-bit minwise hashing, Li and König
2010): two thirds of a row's rarer word pairs, one third of all. Pairs that many rows share say
nothing about which rows belong together, and in data made from templates they would make every
row a candidate of every other.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from edgetune.data.checks.spill import Spill

BYTES = 72
_RARE = 48
_BAND = 3
# Rows that agree in three neighbouring bytes are candidates. Of those that share half of their
# word pairs 96 % agree in one of the 24 bands, of those that share 70 % all but one in 10,000.
_LEAST_AGREEMENT = 0.35
# Three standard deviations below the half that rows with 85 % of their words in common share.
_NEIGHBOURS = 4
# Of the rows with the same band: only those next to it, since in a large group all are alike.
_CROWD = 8
# Candidates per row, on average, from which on the worse ones are dropped at once.
_RAREST = 8
_SLOTS = 22
_BATCH = 4096
_GOLDEN, _MIXER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)

Progress = Callable[[float], None]


class Sketch:
    """Takes the words of rows, one by one, and makes signatures of them once all are known.

    The words' hashes lie in a temporary file meanwhile, four bytes each.
    """

    def __init__(self) -> None:
        self._spill = Spill()
        self._waiting: list[list[str]] = []
        self._prompt_words, self._words = array("I"), array("I")
        self._seen = np.zeros(1 << _SLOTS, np.uint32)

    def add(self, prompt: list[str], answer: list[str]) -> None:
        """The words of one more row."""
        self._prompt_words.append(len(prompt))
        self._words.append(len(prompt) + len(answer))
        self._waiting.append(prompt + answer)
        if len(self._waiting) == _BATCH:
            self._write()

    def close(self) -> None:
        """Remove the temporary file."""
        self._spill.close()

    def words(self) -> np.ndarray:
        """How many words each row has."""
        return np.array(self._words, np.int64)

    def prompt_words(self) -> np.ndarray:
        """How many of them each row's prompt has."""
        return np.array(self._prompt_words, np.int64)

    def signatures(self, of: np.ndarray, progress: Progress) -> np.ndarray:
        """(rows, 72) uint8 of the rows for which ``of`` (a boolean each) holds, in their order."""
        found = np.empty((int(of.sum()), BYTES), np.uint8)
        done = 0
        for rows, part in self._batches(of, prompts=False, progress=progress):
            found[done : done + len(rows)] = part
            done += len(rows)
        return found

    def prompt_signatures(
        self, of: np.ndarray, progress: Progress
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same of the prompts alone, in batches: row numbers, signatures."""
        yield from self._batches(of, prompts=True, progress=progress)

    def _write(self) -> None:
        words, lengths = _hashes(self._waiting)
        self._waiting.clear()
        pairs, _ = _word_pairs(words, lengths)
        np.add.at(self._seen, _slot(pairs), 1)
        self._spill.write(words.tobytes())

    def _batches(
        self, of: np.ndarray, *, prompts: bool, progress: Progress
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if self._waiting:
            self._write()
        lengths = self.words()
        kept_words = self.prompt_words() if prompts else lengths
        common = max(50, len(lengths) // 500)
        begin = 0
        for first in range(0, len(lengths), _BATCH):
            here = slice(first, first + _BATCH)
            total = int(lengths[here].sum())
            words = np.frombuffer(self._spill.read(4 * begin, 4 * total), np.uint32)
            begin += total
            starts = np.cumsum(lengths[here]) - lengths[here]
            kept = np.where(of[here], kept_words[here], 0)
            position = np.arange(total) - np.repeat(starts, lengths[here])
            words = words[position < np.repeat(kept, lengths[here])]
            chosen = np.flatnonzero(of[here])
            yield first + chosen, self._sign(words, kept[chosen], common)
            progress(min(1.0, (first + _BATCH) / len(lengths)))

    def _sign(self, words: np.ndarray, lengths: np.ndarray, common: int) -> np.ndarray:
        pairs, rows = _word_pairs(words, lengths)
        counts = self._seen[_slot(pairs)]
        rare = counts <= common
        few = np.bincount(rows[rare], minlength=len(lengths)) < _RAREST
        if few.any():
            rare |= _rarest(pairs, rows, counts, few)
        return np.hstack(
            [
                _minima(pairs[rare], rows[rare], len(lengths), _RARE, seed=1),
                _minima(pairs, rows, len(lengths), BYTES - _RARE, seed=2),
            ]
        )


def pairs_within(
    signatures: np.ndarray, allowed: Callable[[np.ndarray, np.ndarray], np.ndarray], most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates among rows: (earlier, later), each (pairs,), indices into ``signatures``; of
    each later row at most the ``most`` that agree best. ``allowed`` says of earlier and later
    rows which pairs are worth a look."""
    count = max(len(signatures), 1)

    def best(keys: np.ndarray) -> np.ndarray:
        earlier, later = np.divmod(keys, count)
        return keys[best_of_each(later, _agreement(signatures, earlier, signatures, later), most)]

    keys = np.zeros(0, np.int64)
    for band in _bands(signatures):
        order = np.argsort(band, kind="stable")
        values = band[order]
        found = [keys]
        for step in range(1, _NEIGHBOURS + 1):
            same = np.flatnonzero(values[step:] == values[:-step])
            earlier, later = order[same], order[same + step]
            good = _agreement(signatures, earlier, signatures, later) >= _LEAST_AGREEMENT
            good[good] = allowed(earlier[good], later[good])
            found.append(earlier[good] * count + later[good])
        keys = _distinct(np.concatenate(found))
        if len(keys) > _CROWD * count:
            keys = best(keys)
    earlier, later = np.divmod(best(keys), count)
    return earlier, later


def best_of_each(rows: np.ndarray, agreement: np.ndarray, most: int) -> np.ndarray:
    """Which pairs, of those of each row, have the highest agreement, at most ``most``."""
    order = np.lexsort((-agreement, rows))
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    return order[rank < most]


class Index:
    """Signatures to look others up in."""

    def __init__(self, signatures: np.ndarray) -> None:
        self._signatures = signatures
        self._orders = [np.argsort(band, kind="stable") for band in _bands(signatures)]
        self._values = [
            band[order] for band, order in zip(_bands(signatures), self._orders, strict=True)
        ]

    def candidates(self, signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(theirs, own, agreement): which of ``signatures`` may resemble which of the index's."""
        found = []
        for band, order, values in zip(_bands(signatures), self._orders, self._values, strict=True):
            start = np.searchsorted(values, band)
            for step in range(_NEIGHBOURS):
                at = np.minimum(start + step, len(values) - 1)
                same = np.flatnonzero((start + step < len(values)) & (values[at] == band))
                own = order[at[same]]
                good = _agreement(signatures, same, self._signatures, own) >= _LEAST_AGREEMENT
                found.append(same[good] * len(order) + own[good])
        theirs, own = np.divmod(_distinct(np.concatenate(found)), max(len(self._signatures), 1))
        return theirs, own, _agreement(signatures, theirs, self._signatures, own)


def _distinct(keys: np.ndarray) -> np.ndarray:
    # numpy's own goes through a hash table, which is far slower for millions of such keys.
    ordered = np.sort(keys)
    return ordered[np.diff(ordered, prepend=-1) != 0]


def _hashes(rows: Sequence[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """All words' hashes in a row, uint32, and how many each row has."""
    from rensa import RMinHash

    hashed = RMinHash.hash_token_sets(rows)
    lengths = np.array([len(row) for row in rows], np.int64)
    words = np.empty(int(lengths.sum()), np.uint32)
    done = 0
    for row in hashed:
        words[done : done + len(row)] = np.array(row, np.uint64) * _GOLDEN >> np.uint64(32)
        done += len(row)
    return words, lengths


def _word_pairs(words: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hash of every two neighbouring words, uint64, and which row they are of."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    if len(words) < 2:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    wide = words.astype(np.uint64)
    pairs = (wide[:-1] * _GOLDEN ^ (wide[1:] << np.uint64(7))) * _MIXER
    pairs ^= pairs >> np.uint64(29)
    within = rows[:-1] == rows[1:]
    return pairs[within], rows[:-1][within]


def _slot(pairs: np.ndarray) -> np.ndarray:
    return pairs * _GOLDEN >> np.uint64(64 - _SLOTS)


def _rarest(pairs: np.ndarray, rows: np.ndarray, counts: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Marks the rarest few pairs of the rows for which ``of`` holds."""
    marked = np.zeros(len(pairs), bool)
    candidates = np.flatnonzero(of[rows])
    order = candidates[np.lexsort((pairs[candidates], counts[candidates], rows[candidates]))]
    sizes = np.bincount(rows[candidates], minlength=len(of))
    first = np.cumsum(sizes) - sizes
    rank = np.arange(len(order)) - first[rows[order]]
    marked[order[rank < _RAREST]] = True
    return marked


def _minima(pairs: np.ndarray, rows: np.ndarray, count: int, size: int, seed: int) -> np.ndarray:
    from rensa import RMinHash

    ends = np.cumsum(np.bincount(rows, minlength=count))
    offsets = np.concatenate([[0], ends]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(pairs, offsets, size, seed)
    return (np.array(matrix.to_rows(), np.uint64).reshape(count, size) & 0xFF).astype(np.uint8)


def _bands(signatures: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, BYTES, _BAND):
        first, second, third = signatures[:, start : start + _BAND].astype(np.uint32).T
        yield first << 16 | second << 8 | third


def _agreement(
    first: np.ndarray, of_first: np.ndarray, second: np.ndarray, of_second: np.ndarray
) -> np.ndarray:
    """The share of equal bytes, (pairs,) float32."""
    shares = np.empty(len(of_first), np.float32)
    for start in range(0, len(of_first), 1 << 18):
        here = slice(start, start + (1 << 18))
        shares[here] = (first[of_first[here]] == second[of_second[here]]).mean(axis=1)
    return shares
