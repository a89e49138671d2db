"""Rows that say the same, or nearly, as an earlier one; and validation rows that are trained on.

Equal rows are found by their digests. For nearly equal ones a sketch proposes pairs of rows, and
what is reported has been compared word by word (``similarity``): the sketch can miss a pair but
never make one up.

Only numbers are held per row, some 400 bytes where it is most; the texts lie in temporary files
meanwhile, so that the search through 5 million rows takes about 2 GB, through 100,000 next to
nothing.
"""

from array import array
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from edgetune.data.checks import similarity
from edgetune.data.checks.similarity import (
    ANSWER_THRESHOLD,
    LEAST_PROMPT_WORDS,
    LEAST_WORDS,
    THRESHOLD,
    Match,
    Words,
)
from edgetune.data.checks.sketch import Index, Sketch, best_of_each, pairs_within
from edgetune.data.checks.spill import Texts
from edgetune.data.conversation import Conversation, Finding, content_digest

_MOST_COMPARED = 2
# Texts that a row is compared with word by word: those with the most similar signatures.
_TEMPLATE = 3
# Rows that have the same words around the same gap are made from a template.
_KEPT = 1000
# Rows whose words are kept for the next comparison.
_SAYING = 4
# Words of a prompt. A shorter one ("Go on") says nothing by standing in both parts.

Progress = Callable[[float], None]
Pairs = Iterable[tuple[int, int]]
"""Rows, each with the earlier row that it repeats."""


class Duplicates:
    """Takes the training rows, then the validation rows, and says which repeat others."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._file, self._line, self._valid = array("i"), array("q"), array("b")
        self._whole, self._worded, self._prompt = array("Q"), array("Q"), array("Q")
        self._system, self._numbers = array("Q"), array("Q")
        self._texts, self._sketch = Texts(), Sketch()

    def add(self, conversation: Conversation, valid: bool = False) -> None:
        """One more row."""
        asked, answered = similarity.sides(conversation)
        prompt, answer = similarity.words(asked), similarity.words(answered)
        system = " ".join(m.content for m in conversation.messages if m.role == "system")
        tools = [repr(conversation.tools)] if conversation.tools else []
        self._whole.append(int.from_bytes(content_digest(conversation)[:8], "little"))
        self._worded.append(_hash([*prompt, "", *answer]))
        self._prompt.append(_hash(prompt))
        self._system.append(_hash(similarity.words(system) + tools))
        self._numbers.append(_hash(sorted(similarity.numbers(prompt or answer))))
        self._file.append(self._files.setdefault(conversation.file, len(self._files)))
        self._line.append(conversation.line)
        self._valid.append(valid)
        self._texts.add(asked, answered)
        self._sketch.add(prompt, answer)

    def find(self, progress: Progress = lambda _: None) -> tuple[list[Finding], dict[str, float]]:
        """All repetitions, each reported once: at the later row, a leak at the validation row.
        And how many there are: ``exact``, ``near``, ``leaks``, ``near_leaks``."""
        if not self._line:
            return [], _Reported([], array("i"), array("q"), 0).counts
        return _Search(self, progress).run()

    def close(self) -> None:
        """Remove the temporary files."""
        self._texts.close()
        self._sketch.close()

    def __enter__(self) -> "Duplicates":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Templates:
    """Which pairs of rows differ only in what was filled into the same template."""

    def __init__(self) -> None:
        self.similarity = array("f")
        self._rows, self._frames = array("q"), array("q")
        self._gaps, self._pairs = array("q"), array("q")

    def add(self, row: int, other: int, match: Match) -> int:
        """One more pair; returns its number."""
        number = len(self.similarity)
        self.similarity.append(match.similarity)
        self._rows.extend((row, other))
        self._frames.append(match.frame)
        for around, one, another in match.gaps:
            self._gaps.extend((around, one, around, another))
            self._pairs.append(number)
        return number

    def made(self) -> np.ndarray:
        """A boolean for each pair."""
        count = len(self.similarity)
        frames = np.frombuffer(self._frames, np.int64)
        rows = np.frombuffer(self._rows, np.int64)
        pairs = np.frombuffer(self._pairs, np.int64)
        gaps = np.bincount(pairs, minlength=count)
        filled = np.flatnonzero(gaps)
        made = np.zeros(count, bool)
        of_frame = _different(np.repeat(frames[filled], 2), rows.reshape(-1, 2)[filled].ravel())
        made[filled] = of_frame[::2] >= _TEMPLATE
        # A slot is known by the words that stand in it, and a template has nothing but slots.
        around, words = np.frombuffer(self._gaps, np.int64).reshape(-1, 2).T
        slots = (_different(around, words) >= _TEMPLATE)[::2]
        return made | ((gaps > 0) & (np.bincount(pairs[slots], minlength=count) == gaps))


def _different(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each key how many different values it has."""
    order = np.lexsort((values, keys))
    new_key = np.diff(keys[order], prepend=0) != 0
    if len(order):
        new_key[0] = True
    new_value = (np.diff(values[order], prepend=0) != 0) | new_key
    groups = np.cumsum(new_key) - 1
    counts = np.bincount(groups, weights=new_value).astype(np.int64)
    found = np.empty(len(keys), np.int64)
    found[order] = counts[groups]
    return found


class _Reported:
    """The findings so far; a row is reported once."""

    def __init__(self, files: list[str], file: array, line: array, rows: int) -> None:
        self._files, self._file, self._line = files, file, line
        self.rows = np.zeros(rows, bool)
        self.findings: list[Finding] = []
        self.counts: dict[str, float] = {
            "exact": 0,
            "near": 0,
            "threshold": THRESHOLD,
            "leaks": 0,
            "near_leaks": 0,
        }

    def add(self, kind: str, count: str, message: str, row: int, other: int) -> None:
        if self.rows[row]:
            return
        self.rows[row] = True
        self.counts[count] += 1
        related = f"{self._files[self._file[other]]}, line {self._line[other]}"
        self.findings.append(
            Finding(
                "warning",
                kind,
                message,
                self._files[self._file[row]],
                self._line[row],
                related=related,
            )
        )


class _Search:
    """The search through all rows, from the surest to the least sure repetition."""

    def __init__(self, rows: Duplicates, progress: Progress) -> None:
        self._texts, self._sketch, self._progress = rows._texts, rows._sketch, progress
        self._valid = np.frombuffer(rows._valid, np.int8).astype(bool)
        self._whole, self._worded, self._prompt, self._system, self._numbers = (
            np.frombuffer(values, np.uint64)
            for values in (
                rows._whole,
                rows._worded,
                rows._prompt,
                rows._system,
                rows._numbers,
            )
        )
        self._words, self._prompt_words = self._sketch.words(), self._sketch.prompt_words()
        self._reported = _Reported(list(rows._files), rows._file, rows._line, len(self._valid))

    def run(self) -> tuple[list[Finding], dict[str, float]]:
        self._equal()
        self._near()
        self._near_prompts()
        self._progress(1.0)
        return self._reported.findings, self._reported.counts

    def _equal(self) -> None:
        add = self._reported.add
        for row, other in self._also_trained(self._whole):
            add("leak", "leaks", "the same row is among the training rows", row, other)
        for row, other in self._repeated(self._whole):
            add("duplicate", "exact", "the same as an earlier row", row, other)
        case = "but for case, white space or punctuation"
        words = self._words > 0
        for row, other in self._also_trained(self._worded, words):
            message = f"the same row, {case}, is among the training rows"
            add("near-leak", "near_leaks", message, row, other)
        for row, other in self._repeated(self._worded ^ self._system, words):
            add("near-duplicate", "near", f"the same as an earlier row {case}", row, other)
        message = "the same prompt is among the training rows, with another answer"
        for row, other in self._also_trained(self._prompt, self._prompt_words >= _SAYING):
            same_system = self._system[row] == self._system[other]
            if same_system or self._prompt_words[row] >= LEAST_WORDS:
                add("near-leak", "near_leaks", message, row, other)

    def _near(self) -> None:
        rows = np.flatnonzero(~self._reported.rows & (self._words >= LEAST_WORDS))
        of = np.zeros(len(self._words), bool)
        of[rows] = True
        signatures = self._sketch.signatures(of, lambda share: self._progress(0.4 * share))

        def allowed(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
            first, second = rows[earlier], rows[later]
            return self._comparable(first, second, self._words) & (
                (self._system[first] == self._system[second])
                | (self._valid[first] != self._valid[second])
            )

        earlier, later = pairs_within(signatures, allowed, _MOST_COMPARED)
        pairs = list(zip(rows[later].tolist(), rows[earlier].tolist(), strict=True))
        for row, other, share in self._compared(pairs, similarity.compare, 0.4, 0.9):
            percent = f"{int(100 * share)} % of the words are equal"
            if self._valid[row] and not self._valid[other]:
                message = f"nearly the same row is among the training rows: {percent}"
                self._reported.add("near-leak", "near_leaks", message, row, other)
            else:
                message = f"nearly the same as an earlier row: {percent}"
                self._reported.add("near-duplicate", "near", message, row, other)

    def _near_prompts(self) -> None:
        enough = self._prompt_words >= LEAST_PROMPT_WORDS
        asked = self._valid & enough & ~self._reported.rows
        if not asked.any():
            return
        own = np.flatnonzero(asked)
        index = Index(self._prompt_signatures(asked))
        pairs: list[tuple[int, int]] = []
        train = ~self._valid & enough & ~self._reported.rows
        for rows, signatures in self._sketch.prompt_signatures(train, lambda _: None):
            theirs, mine, agreement = index.candidates(signatures)
            first, second = rows[theirs], own[mine]
            good = self._comparable(first, second, self._prompt_words)
            first, second, agreement = first[good], second[good], agreement[good]
            chosen = best_of_each(second, agreement, _MOST_COMPARED)
            pairs += zip(second[chosen].tolist(), first[chosen].tolist(), strict=True)
        for row, other, share in self._compared(pairs, similarity.compare_prompts, 0.9, 1.0):
            percent = f"{int(100 * share)} % of its words are equal"
            message = f"nearly the same prompt is among the training rows: {percent}"
            self._reported.add("near-leak", "near_leaks", message, row, other)

    def _prompt_signatures(self, of: np.ndarray) -> np.ndarray:
        parts = [part for _, part in self._sketch.prompt_signatures(of, lambda _: None)]
        return np.concatenate(parts)

    def _comparable(self, first: np.ndarray, second: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Whether pairs of rows can be alike, from their numbers and lengths alone."""
        shorter = np.minimum(size[first], size[second])
        longer = np.maximum(size[first], size[second])
        return (self._numbers[first] == self._numbers[second]) & (
            shorter >= ANSWER_THRESHOLD * longer
        )

    def _compared(
        self,
        pairs: list[tuple[int, int]],
        compare: Callable[[Words, Words], Match | None],
        start: float,
        end: float,
    ) -> list[tuple[int, int, float]]:
        """Of the pairs (later row, earlier row) those that are alike and not made from a
        template, with their similarity; the most similar first of each row."""
        parsed = lru_cache(_KEPT)(lambda row: similarity.parse(self._texts.read(row)))
        templates = Templates()
        alike: list[tuple[int, int, int]] = []
        for number, (row, other) in enumerate(pairs):
            if number % 1000 == 0:
                self._progress(start + (end - start) * number / len(pairs))
            if match := compare(parsed(row), parsed(other)):
                at = templates.add(row, other, match)
                if match.alike:
                    alike.append((row, other, at))
        self._progress(end)
        made = templates.made()
        kept = [(row, other, templates.similarity[at]) for row, other, at in alike if not made[at]]
        valid = self._valid
        return sorted(
            kept, key=lambda one: (one[0], valid[one[0]] == valid[one[1]], -one[2], one[1])
        )

    def _also_trained(self, values: np.ndarray, of: np.ndarray | None = None) -> Pairs:
        """Validation rows with the first training row of the same value."""
        of = np.ones(len(values), bool) if of is None else of
        train, valid = np.flatnonzero(~self._valid & of), np.flatnonzero(self._valid & of)
        if not len(train) or not len(valid):
            return []
        known, first = np.unique(values[train], return_index=True)
        at = np.minimum(np.searchsorted(known, values[valid]), len(known) - 1)
        same = known[at] == values[valid]
        return zip(valid[same].tolist(), train[first[at[same]]].tolist(), strict=True)

    def _repeated(self, values: np.ndarray, of: np.ndarray | None = None) -> Pairs:
        """Rows with the first row of the same value in the same part."""
        for part in (self._valid, ~self._valid):
            rows = np.flatnonzero(part if of is None else part & of)
            _, first, group = np.unique(values[rows], return_index=True, return_inverse=True)
            later = np.flatnonzero(first[group] != np.arange(len(rows)))
            yield from zip(rows[later].tolist(), rows[first[group[later]]].tolist(), strict=True)


def _hash(words: list[str]) -> int:
    data = "\n".join(words).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
