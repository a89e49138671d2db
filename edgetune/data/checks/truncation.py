"""Answers that look cut off: a model trained on them learns to stop in mid-sentence.

Precision before recall. Some endings are never whole, whatever the data: a code block that does
not close, JSON that ends too early, a comma, "the". Whether a line without a full stop is cut off
only the other answers can tell: where (nearly) all prose ends with a full stop, one that does not
is reported; where many do not (transcripts, chat, captions), none is. Short answers, lists,
verse, tables, code, titles and signatures are no prose and never judged this way.

Time is linear in the length of an answer, whatever it holds: endings are matched in its last
lines only, blocks and brackets counted in one pass.
"""

import json
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class CutOff:
    """An answer that looks cut off."""

    key: Any
    """As given to ``Truncation.add``."""
    reason: str
    """Completes "the answer looks cut off: it …"."""


@dataclass
class _Habit:
    """How often answers of one sort end with a full stop (or its like), by their length."""

    ended: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    open: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    # By the length's number of bits: 10 for 512 to 1023 characters.

    def add(self, length: int, ended: bool) -> None:
        (self.ended if ended else self.open)[length.bit_length()] += 1

    def include(self, other: "_Habit") -> None:
        for bits, n in other.ended.items():
            self.ended[bits] += n
        for bits, n in other.open.items():
            self.open[bits] += n

    def answers(self) -> int:
        return sum(self.ended.values()) + sum(self.open.values())

    def holds(self, least: int, share: float, below: int = 99) -> bool:
        """Whether nearly all end with a full stop: at least ``least``, and ``share`` of them.

        Only answers whose length has fewer than ``below`` bits count.
        """
        ended = sum(n for bits, n in self.ended.items() if bits < below)
        still_open = sum(n for bits, n in self.open.items() if bits < below)
        # The one that is asked about does not count against it.
        return ended >= least and ended + 1 >= share * (ended + still_open)


_FEW = 8
_NEARLY_ALL = 0.9
_SURE = (_FEW, _NEARLY_ALL)
# A single sentence and nothing else may as well be a title or a caption; a few words all the more.
_SENTENCE = (2 * _FEW, 0.95)
_FEW_WORDS = (50, 0.99)
_MOST_OPEN = 200_000
# Open answers kept until all are seen: the first of them; nobody reads more warnings.

_Sort = tuple[str, str, bool, bool]
# Answers with one habit: group, script, short last line, a single sentence and nothing else.


class _Open(NamedTuple):
    """An answer without its full stop, until all the others are known."""

    at: int
    key: Any
    sort: _Sort
    length: int
    asked: tuple[int, float]
    """What a habit must be for this answer to break it."""
    reason: str


class Truncation:
    """Finds cut-off answers in a stream of answers: ``add`` each, then ask for ``result``.

    Memory grows with the answers that end openly, not with the data.
    """

    def __init__(self) -> None:
        self._habits: dict[_Sort, _Habit] = defaultdict(_Habit)
        self._merged: dict[tuple[str | None, str, bool | None, bool | None], _Habit] = {}
        self._certain: list[tuple[int, Any, str]] = []
        self._open: list[_Open] = []
        self._count = 0
        self._longest = 0
        self._at_longest: list[tuple[int, Any, bool]] = []
        self._answers: Counter[str] = Counter()
        self._marks: Counter[tuple[str, str]] = Counter()
        self._unmarked: list[tuple[int, Any, str]] = []

    def add(self, answer: str, key: Any, group: str = "") -> None:
        """``answer``: one assistant message, any string; ``key`` names it in the result.

        ``group``: answers that are written alike, e.g. those of a task.
        """
        text = answer.rstrip()
        if not text:
            return
        self._count += 1
        self._answers[group] += 1
        ending = _ending(text)
        reason = certain(text)
        if reason:
            self._certain.append((self._count, key, reason))
        if len(text) >= self._longest:
            if len(text) > self._longest:
                self._longest, self._at_longest = len(text), []
            if len(self._at_longest) < _MOST_OPEN:
                self._at_longest.append((self._count, key, ending.open_))
        mark = _MARK.match(_last_line(text))
        if mark:
            self._marks[group, mark[0]] += 1
        elif len(self._unmarked) < _MOST_OPEN:
            self._unmarked.append((self._count, key, group))
        if ending.prose:
            sort = (group, ending.script, ending.short, ending.alone)
            self._habits[sort].add(len(text), ended=not ending.open_)
            if ending.open_ and not reason and len(self._open) < _MOST_OPEN:
                asked = _FEW_WORDS if ending.short else _SENTENCE if ending.alone else _SURE
                if ending.last_word in _SELDOM:
                    asked = _SURE
                reason = "ends in the middle of a sentence" + _quoted(text)
                self._open.append(_Open(self._count, key, sort, len(text), asked, reason))

    def result(self) -> list[CutOff]:
        """The answers that look cut off, in the order in which they were added."""
        self._merged.clear()
        found = {at: CutOff(key, reason) for at, key, reason in self._certain}
        for open_ in self._open:
            if self._is_broken_by(open_):
                found.setdefault(open_.at, CutOff(open_.key, open_.reason))
        cap = self._at_longest
        if self._longest >= 100 and len(cap) >= 3 and all(ends_openly for _, _, ends_openly in cap):
            for at, key, _ in cap:
                reason = f"is exactly {self._longest} characters long, as long as any of the data,"
                found.setdefault(
                    at, CutOff(key, f"{reason} and ends openly, as {len(cap) - 1} others do")
                )
        for (group, mark), count in self._marks.items():
            if count >= max(20, _NEARLY_ALL * self._answers[group]):
                reason = f"lacks the last line of all others, which begins with {mark}"
                for at, key, own in self._unmarked:
                    if own == group:
                        found.setdefault(at, CutOff(key, reason))
        return [found[at] for at in sorted(found)]

    def _is_broken_by(self, open_: _Open) -> bool:
        """Whether an answer without its full stop breaks the habit of answers like it."""
        group, script, short, alone = open_.sort
        least, share = open_.asked
        # Like it in all respects; where those are too few, in fewer.
        like_it: list[tuple[str | None, bool | None, bool | None]] = [
            (group, short, alone),
            (None, short, alone),
        ]
        if open_.asked is _SURE:
            like_it += [(group, None, None), (None, None, None)]
        for shape in like_it:
            habit = self._habit_of(script, *shape)
            if habit.answers() > _FEW:
                if habit.holds(least, share):
                    return True
                break
        # Where answers are cut at a length, the longer ones have bad habits: ask the shorter ones.
        shorter = self._habit_of(script, group, None, None)
        return shorter.holds(3 * least, max(share, 0.97), below=open_.length.bit_length())

    def _habit_of(
        self, script: str, group: str | None, short: bool | None, alone: bool | None
    ) -> _Habit:
        """Of all answers of a sort; None: of whichever."""
        wanted = (group, script, short, alone)
        if wanted not in self._merged:
            merged = self._merged[wanted] = _Habit()
            for sort, habit in self._habits.items():
                if all(want in (None, has) for want, has in zip(wanted, sort, strict=True)):
                    merged.include(habit)
        return self._merged[wanted]


# ---- endings that are never whole ----

_FENCE = re.compile(r"^[ \t]{0,12}(?:```|~~~)", re.MULTILINE)
_TAGS = ("think", "answer", "tool_call", "reasoning")
_MARK = re.compile(r"(?:#{2,6}|</?[A-Za-z_]{2,16}>|<\|\w{2,16}\|>)(?=\s|$)")

_NEVER_LAST = """
the an of and or but because which whose if although whereas unless into onto than via
their our your my including between among toward towards
und oder dass weil et ou des les los las el em della delle degli
"""
"""Words that no sentence ends with; English, then German, French, Spanish, Portuguese, Italian."""

_SELDOM_LAST = """
to in on at by for with from as is are was were be been being has have had will would can
could should may might must not that this these those it its they we you he she when where
who what how so then also more most very such while until through about over under after
before during without within against der die das den dem ein eine einen mit von zu im für
auf ist sind wird werden que de du un une est sont dans pour avec sur en del por para con
una es son da do um uma di il che sono per
"""
"""Words that a sentence without its full stop seldom ends with."""

_NEVER = frozenset(_NEVER_LAST.split())
_SELDOM = _NEVER | frozenset(_SELDOM_LAST.split())


_WORDS_BEFORE_A = "of with for in as by to from on at am was have has had i'm such into"
_BEFORE_A = frozenset(_WORDS_BEFORE_A.split())
# An answer may well end with "The right one is a".
_ABOUT_WORDS = re.compile(
    r"\b(?:article|conjunction|preposition|pronoun|determiner|blank|words?)\b"
)
# Nor is "The article of the sentence is an" cut off.
_EMPTY_ITEM = re.compile(r"\d{1,3}[.)]|[-*•]")


def certain(answer: str) -> str:
    """Why an answer must be cut off, whatever the others are like; "" where that cannot be said.

    ``answer`` has no white space at its end. Any string is allowed.
    """
    fences = len(_FENCE.findall(answer)) if "```" in answer or "~~~" in answer else 0
    if fences % 2 and not answer.endswith(("```", "~~~")):
        # Prose with its full stop behind a block that was not closed is sloppy, but whole.
        prose = answer[-1] in _STOPS and len(_last_line(answer).split()) >= 5
        return "" if prose else "ends inside a code block"
    if fences:
        # What a closed block says about brackets and last words is the code's own affair.
        return "" if answer.endswith(("```", "~~~")) else _open_end(answer)
    if answer[:1] in ("{", "[") and _json_ends_early(answer):
        return "is JSON that ends too early"
    if "<" in answer:
        head = answer[:200].lstrip().lower()
        if head.startswith(("<!doctype html", "<html")) and "</html" not in answer.lower():
            return "is an HTML page without its end"
        for tag in _TAGS:
            if answer.count(f"<{tag}>") > answer.count(f"</{tag}>"):
                return f"opens <{tag}> and does not close it"
    if answer.count("\\begin{") > answer.count("\\end{"):
        return "opens a LaTeX environment and does not close it"
    return _open_end(answer)


def _json_ends_early(answer: str) -> bool:
    try:
        json.loads(answer)
    except json.JSONDecodeError as error:
        return error.pos >= len(answer) or error.msg.startswith("Unterminated string")
    except (RecursionError, ValueError):  # nested too deep, or a number too long, to be judged
        return False
    return False


def _open_end(answer: str) -> str:
    line = _last_line(answer)
    words = line.split()
    if _EMPTY_ITEM.fullmatch(line):
        before = _last_line(answer[: len(answer) - len(line)].rstrip())
        return "ends with an empty list item" if _ITEM.match(before) else ""
    if _CALCULATION.search(answer[-100:]):
        return "ends inside a calculation"
    if len(words) < 4 and _ITEM.match(line) and _breaks_off(answer, line):
        return "ends in the middle of a list item"
    before = answer[: len(answer) - len(line)].rstrip()
    if len(words) > 4 and _SUM.search(line[-100:]) and not before.endswith(("=", "+", "$")):
        return "ends in the middle of a calculation"
    if len(words) < 3 or len(answer[-200:].split()) < 4 or _is_code(line):
        return ""
    last = line[-1]
    ending = words[-1]
    if ending in _NEVER or (ending == "a" and words[-2].lower() in _BEFORE_A):
        whole = words[-2][-1] in ".!?:" or _ABOUT_WORDS.search(line[-200:])
        return "" if whole else "ends in the middle of a sentence" + _quoted(answer)
    if len(words) < 5:
        return ""
    if last == "," or (last == ":" and ending[:-1].isalpha()):
        return f"ends with a {'comma' if last == ',' else 'colon'}" + _quoted(answer)
    if last in "([{“«„‘" and line[-2] not in ":;=-8":
        return "ends with an opening bracket or quote" + _quoted(answer)
    if last in "-–—" and line[-2].isalpha() and line[-2].islower():
        return "ends in the middle of a word" + _quoted(answer)
    return ""


_CALCULATION = re.compile(r"<<[\d.,$%+*/()= -]{0,60}$")
# Grade-school answers write them as <<48/2=24>>.
_SUM = re.compile(r"\d ?%? ?[-+*/=] ?\(?\$?$(?<!\d[-+*/])|[=+] ?\$$")
# "18+" and "5/" may well be whole, "3 + " is not.


def _breaks_off(answer: str, line: str) -> bool:
    """Whether the three items before a last one of a word or two are sentences."""
    if line[-1] in _STOPS:
        return False
    lines = [each.strip() for each in answer[-4000:].split("\n") if each.strip()][-4:-1]
    return len(lines) == 3 and all(
        _ITEM.match(each) and each.rstrip(_CLOSERS)[-1:] in _STOPS and len(each.split()) > 5
        for each in lines
    )


# ---- endings that the others decide about ----

_STOPS = frozenset(".!?…。！？｡।॥؟۔።։")
_CLOSERS = "\"'”’»)]}*_`~】）」』›“"
_ITEM = re.compile(r"(?:[-*•+–—·o►▪✓✔#>|]|\d{1,3}[.):]|[A-Za-z][.)]|\([A-Za-z\d]{1,3}\))[\s*]")
_LABEL = re.compile(r"[^.!?]{0,40}:\s*\S")
_LONG_ENTRY = 12
# So many words behind a label are a sentence.
_SIGNED = re.compile(r"[-–—~―]\s?[A-Z][\w.’']*(?:\s[\w.’']+){0,4}$")
_CODE = re.compile(
    r"[{};=<>\\|]|\w\(|\(\)|^\s*(?:def|class|import|return|for|if|elif|while|with|print"
    r"|let|const|var|SELECT|select|INSERT|UPDATE|DELETE|FROM|WHERE)\b"
)
_NO_FULL_STOPS = ("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


@dataclass(frozen=True)
class _Ending:
    prose: bool
    open_: bool = False
    script: str = ""
    short: bool = False
    """Whether the last line has fewer than eight words."""
    alone: bool = False
    """Whether that line is all there is, and one sentence at most."""
    last_word: str = ""


def _ending(text: str) -> _Ending:
    """How a text ends; ``prose`` only where a full stop is to be expected or is there."""
    line = _last_line(text)
    bare = line.rstrip(_CLOSERS)
    if not bare or (_ITEM.match(line) and not _items_have_stops(text, line)):
        return _Ending(False, open_=_looks_open(line))
    last = bare[-1]
    ended = last in _STOPS
    if not ended and (bare != line or not last.isalpha() or _is_code(line)):
        return _Ending(False, open_=_looks_open(line))
    letter = last
    if ended:
        # The script is that of the last letter before the full stop.
        letter = next((c for c in reversed(bare[-80:]) if c.isalpha()), "a")
    script = _script(letter)
    words = line.split()
    length = len(line) // 3 if script == "CJK" else len(words)
    if length < 4 or script in _NO_FULL_STOPS:
        return _Ending(False, open_=not ended)
    if not ended and _has_no_full_stop(text, line, words):
        return _Ending(False, open_=True)
    alone = len(line) == len(text) and not any(stop in line for stop in (". ", "! ", "? ", "。"))
    return _Ending(True, not ended, script, length < 8, alone, words[-1])


def _items_have_stops(text: str, line: str) -> bool:
    """Whether the item before the last one of a list ends with a full stop."""
    before = text[: len(text) - len(line)].rstrip()
    previous = _last_line(before)
    return bool(_ITEM.match(previous)) and previous.rstrip(_CLOSERS)[-1:] in _STOPS


def _looks_open(line: str) -> bool:
    return line[-1:].isalnum() or line[-1:] in ",;:-–—(["


def _has_no_full_stop(text: str, line: str, words: list[str]) -> bool:
    """Whether a last line that ends with a letter may well be whole: verse, a title, a name."""
    if _SIGNED.search(line[-80:]) or words[-1][0] in "#@" or "://" in words[-1]:
        return True
    if line.startswith(("http", "www.")) or ("/" in words[-1] and "." in words[-1]):
        return True
    if words[-1] in _SELDOM and _ABOUT_WORDS.search(line[-200:]):
        return True
    long_words = [word for word in words if len(word) > 3]
    if sum(word[0].isupper() for word in long_words) > 0.6 * len(long_words):
        return True  # a title, names
    if (
        len(words) < _LONG_ENTRY
        and _LABEL.match(line)
        and not any(stop in line[:-1] for stop in (". ", "! ", "? "))
    ):
        return True  # "Object: …", an entry of some list
    before = text[: len(text) - len(line)]
    previous = before.rstrip(" \t\r\n")
    if before.count("\n", len(previous)) == 1:
        # Directly under a line that itself ends without a full stop: verse, an address, a list.
        return previous[-1:].isalnum() or previous[-1:] in ",;:"
    return False


def _last_line(text: str) -> str:
    # A line of a megabyte is judged by its end.
    return text[text.rfind("\n") + 1 :][-4000:].lstrip()


def _is_code(line: str) -> bool:
    return _CODE.search(line[-300:]) is not None


def _script(letter: str) -> str:
    if letter < "\u0250":
        return "LATIN"
    name = unicodedata.name(letter, "").split(" ")[0]
    return "CJK" if name in ("CJK", "HIRAGANA", "KATAKANA") else name


def _quoted(text: str) -> str:
    """The last words, where they are plain words: nothing that might be a secret."""
    words = text[-60:].split()[-3:]
    plain = all(word.strip(",;:-–—([{“«„‘'’").isalpha() and len(word) <= 16 for word in words)
    return f" (“… {' '.join(words)}”)" if plain and words else ""
