"""Whether two rows say nearly the same, decided on their words.

A row that was changed by a word or two, by a few characters, or in case, white space and
punctuation is nearly the same; one that was filled into the same template with something else in
its slot is another row: *the capital of France* and *the capital of Spain* share most of their
words and nothing of what they teach. The share of common words alone cannot tell the two apart,
so a difference is looked at as well: other numbers or other names in the prompt make another row,
and what differs at one place in many rows is a slot (``Match.frame`` finds those).
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgetune.data.conversation import Conversation

THRESHOLD = 0.85
"""The least share of words that two nearly equal rows have in common."""

TEXT_THRESHOLD = 0.92
"""The same for running text, in which prompt and answer cannot be told apart."""

LEAST_WORDS = 8
"""Shorter rows are compared for equal words only: one word of seven may be all that matters."""

LEAST_PROMPT_WORDS = 12
"""The same for a prompt alone, without its answer."""

_LONG_PROMPT = 30
_SIDE_THRESHOLD = 0.7
# Prompt and answer each: a long answer that many prompts share does not make them alike.
ANSWER_THRESHOLD = 0.8
"""The same for two rows with an equal prompt."""

_SURE = 4
# Words of a side that is equal, to take a changed word on the other for a rewording.
_ALIKE = 75
# Of 100: from here on one word is a spelling of the other.
_AROUND = 2
# Words on either side of a slot by which it is known.
_LONGEST = 50_000
# Characters of a prompt or an answer that are compared.

_SINGLE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
# Scripts that put no space between words: each character counts as one.
_WORD = re.compile(
    rf"[{_SINGLE}]|\d+(?:[.,:/]\d+)+|[^\W{_SINGLE}]+(?:['’][^\W{_SINGLE}]+)*"
    r"|[-−](?=\s?\d)|[^\w\s.,;:!?¿¡'\"‘’“”„«»()\[\]{}…–—_\ud800-\udfff-]"
)
# A minus counts, a hyphen and other punctuation do not; symbols do.
_SENTENCE_END = re.compile(r"(?:^|[.!?:\n\"“(])\W*$")

_DIGIT = re.compile(r"\d")
_NUMBER_WORDS = """
zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand
million
"""
_NUMBERS = frozenset(_NUMBER_WORDS.split())
# Not "one", which mostly is none.

Step = tuple[str, int, int, int, int]


def words(text: str) -> list[str]:
    """What counts in a text: its words, numbers and symbols, without case and punctuation."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold())


def sides(conversation: Conversation) -> tuple[str, str]:
    """What is asked and what is answered, each as one text. Running text counts as an answer;
    what the system says is on neither side."""
    if conversation.text and not conversation.messages:
        return "", conversation.text[:_LONGEST]
    asked, answered = [], []
    for message in conversation.messages:
        if message.role == "system":
            continue
        if message.role != "assistant":
            asked.append(message.content)
            continue
        answered += [message.reasoning, message.content]
        for call in message.tool_calls:
            answered.append(f"{call.name} {call.arguments}")
    return "\n".join(asked)[:_LONGEST], "\n".join(filter(None, answered))[:_LONGEST]


@dataclass(frozen=True)
class Words:
    """A row as it is compared."""

    texts: tuple[str, str]
    asked: list[str]
    answered: list[str]


def parse(texts: tuple[str, str]) -> Words:
    """The words of what is asked and of what is answered."""
    return Words(texts, words(texts[0]), words(texts[1]))


@dataclass(frozen=True)
class Match:
    """Two rows with nearly the same words."""

    similarity: float
    """The share of words that they have in common, 0 to 1."""
    alike: bool
    """Whether what differs is a rewording, as far as these two rows can tell."""
    replaced: bool
    """Whether other words stand in place of some, spellings aside."""
    frame: int
    """A hash of what they have in common, with a gap where they differ. When more than two rows
    share a frame, the gap is a slot, and the rows are no near-duplicates."""
    gaps: tuple[tuple[int, int, int], ...]
    """Where words stand in place of others: hashes of the words around, and of those and these.
    When many different words stand between the same ones, that is a slot as well. Empty if words
    are left out or put in somewhere: the slots of a template are always filled."""


def compare(first: Words, second: Words) -> Match | None:
    """Whether two rows have nearly the same words, and whether they say nearly the same."""
    asked, answered = (first.asked, second.asked), (first.answered, second.answered)
    total = max(map(len, asked)) + max(map(len, answered))
    running_text = not first.asked and not second.asked
    if not total:
        return None
    threshold = TEXT_THRESHOLD if running_text else THRESHOLD
    same_prompt = first.asked == second.asked and len(first.asked) >= _SURE
    if same_prompt:
        threshold = ANSWER_THRESHOLD
    budget = int(total * (1 - threshold)) if total >= LEAST_WORDS else 0
    distances = [_distance(*pair, budget) for pair in (asked, answered)]
    if sum(distances) > budget:
        return None
    for distance, pair in zip(distances, (asked, answered), strict=True):
        if distance > (1 - _SIDE_THRESHOLD) * max(map(len, pair)) and not same_prompt:
            return None
    same_answer = first.answered == second.answered and len(first.answered) >= _SURE
    steps = _steps(*asked), _steps(*answered)
    cost = _cost(steps[0], *asked, same_answer) + _cost(steps[1], *answered, same_prompt)
    # Running text has no prompt, so that its names and numbers are all there is to tell by.
    side = 1 if running_text else 0
    other = distances[side] and (
        sorted(numbers(asked[0] or answered[0])) != sorted(numbers(asked[1] or answered[1]))
        or _other_names(steps[side], first.texts[side], second.texts[side])
    )
    gaps = _gaps(steps[0], *asked), _gaps(steps[1], *answered)
    return Match(
        1 - sum(distances) / total,
        cost <= max(budget, 1) and not other,
        cost > sum(distances),
        hash((_frame(steps[0], asked[0]), _frame(steps[1], answered[0]))),
        () if None in gaps else tuple(gap for found in gaps for gap in found or ()),
    )


def compare_prompts(first: Words, second: Words) -> Match | None:
    """The same for what is asked alone, whatever is answered. Where another word stands in place
    of one, only a long prompt is still the same question."""
    match = compare(
        Words((first.texts[0], ""), first.asked, []), Words((second.texts[0], ""), second.asked, [])
    )
    if match and match.replaced and len(first.asked) < _LONG_PROMPT:
        return replace(match, alike=False)
    return match


def numbers(tokens: Sequence[str]) -> list[str]:
    """The words with a digit and the English words for numbers, in their order."""
    return [token for token in tokens if token in _NUMBERS or _DIGIT.search(token)]


def _distance(first: list[str], second: list[str], most: int) -> int:
    """Words to change, insert or leave out; ``most`` + 1 for anything above ``most``."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(first, second, score_cutoff=most)


def _steps(first: list[str], second: list[str]) -> list[Step]:
    """What turns one into the other: kind, and from where to where in each."""
    if first == second:
        return [("equal", 0, len(first), 0, len(second))]
    from rapidfuzz.distance import Levenshtein

    steps: list[Step] = []
    for step in Levenshtein.opcodes(first, second):
        kind, start, end = step.tag, step.src_start, step.src_end
        other_start, other_end = step.dest_start, step.dest_end
        if kind != "equal" and steps and steps[-1][0] != "equal":
            # One word in place of two is a single gap.
            _, start, _, other_start, _ = steps.pop()
            kind = "replace" if start < end and other_start < other_end else kind
        steps.append((kind, start, end, other_start, other_end))
    return steps


def _cost(steps: list[Step], first: list[str], second: list[str], sure: bool) -> int:
    """The distance, with a word put in place of another counted twice: in a template that is all
    that differs. Not where the other side of the row is equal (``sure``), nor a first word
    ("Describe", "Explain") or a spelling."""
    from rapidfuzz import fuzz

    cost = 0
    for kind, start, end, other_start, other_end in steps:
        if kind == "equal":
            continue
        cost += max(end - start, other_end - other_start)
        if kind != "replace" or sure:
            continue
        for one, other in zip(first[start:end], second[other_start:other_end], strict=False):
            spelling = fuzz.ratio(one, other) >= _ALIKE and not numbers([one, other])
            cost += not spelling and start > 0
    return cost


def _frame(steps: list[Step], first: list[str]) -> tuple[str, ...]:
    frame: list[str] = []
    for kind, start, end, _, _ in steps:
        frame += first[start:end] if kind == "equal" else [""]
    return tuple(frame)


def _gaps(
    steps: list[Step], first: list[str], second: list[str]
) -> list[tuple[int, int, int]] | None:
    """See ``Match.gaps``; None if a word is left out or put in."""
    gaps = []
    for kind, start, end, other_start, other_end in steps:
        if kind in ("insert", "delete"):
            return None
        if kind == "replace":
            around = (*first[max(0, start - _AROUND) : start], "", *first[end : end + _AROUND])
            one, other = tuple(first[start:end]), tuple(second[other_start:other_end])
            gaps.append((hash(around), hash(one), hash(other)))
    return gaps


def _other_names(steps: list[Step], first: str, second: str) -> bool:
    """Whether a name (a capital within a sentence) stands where the other text has another one."""
    replaced = [step for step in steps if step[0] == "replace"]
    if not replaced or first.islower() or second.islower():
        return False
    one, other = list(_WORD.finditer(first)), list(_WORD.finditer(second))
    return any(
        any(_is_name(match, first) for match in one[start:end])
        and any(_is_name(match, second) for match in other[other_start:other_end])
        for _, start, end, other_start, other_end in replaced
    )


def _is_name(match: re.Match[str], text: str) -> bool:
    if not match.group()[0].isupper():
        return False
    before = text[max(0, match.start() - 20) : match.start()]
    return bool(before.strip()) and not _SENTENCE_END.search(before)
