"""Every fact of the small world: what the corpus says in prose and instructions ask for.

A fact is a relation (its `task`), the words that fill the relation's sentences (`slots`) and an
`answer`. Facts that would give each other away share a `group` (``a + b`` and ``b + a``,
``hot``/``cold`` and ``cold``/``hot``), so that a split never separates them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import world

TRAINED = tuple(
    world.words(
        "capital continent colour sound category plural past opposite rhyme material taste after "
        "before bigger add subtract first_letter last_letter count_letters spell reverse "
        "first_item last_item digits parity"
    )
)
"""Relations the instruction dataset trains."""
HELD_OUT = ("young", "home", "language")
"""Relations whose whole task is held out of the instruction dataset: each stands alone."""
CORPUS_ONLY = ("job", "unit", "season", "sort", "story")
"""Relations the corpus speaks of and no instruction asks for."""


@dataclass(frozen=True)
class Fact:
    """One thing that is true in the world; `answer` is the word or words worth asking for."""

    task: str
    key: str
    answer: str
    slots: tuple[tuple[str, str], ...]
    entity: str = ""
    """What the fact is about, for documents that stay with one thing."""
    group: str = ""
    """Facts of one group state the same knowledge and stay on the same side of a split."""

    @property
    def identity(self) -> tuple[str, str]:
        """What makes two rows ask for the same fact."""
        return self.task, self.key


def number_word(value: int) -> str:
    """Return `value` (0 to 99) in words."""
    if value < len(world.ONES):
        return world.ONES[value]
    tens, ones = divmod(value, 10)
    return world.TENS[tens - 2] + (f"-{world.ONES[ones]}" if ones else "")


def article(noun: str) -> str:
    """Return the indefinite article that goes before `noun`."""
    return "an" if noun[0].lower() in "aeiou" else "a"


def _fact(task: str, x: str, answer: str, group: str = "", **slots: str) -> Fact:
    filled = {"x": x, "ax": f"{article(x)} {x}", "y": answer, **slots}
    key = slots.get("key", x)
    filled.pop("key", None)
    return Fact(task, key, answer, tuple(filled.items()), entity=x, group=group or f"{task}:{key}")


def _lookups() -> list[Fact]:
    facts = []
    for country, capital, language, continent in world.table(world.COUNTRIES):
        facts += [
            _fact("capital", country, capital),
            _fact("language", country, language),
            _fact("continent", country, continent),
        ]
    for task, text in (
        ("sound", world.SOUNDS),
        ("young", world.YOUNG),
        ("home", world.HOMES),
        ("job", world.JOBS),
    ):
        facts += [_fact(task, x, y) for x, y in world.table(text)]
    for task, table in (
        ("colour", world.COLOURS),
        ("category", world.CATEGORIES),
        ("material", world.MATERIALS),
        ("taste", world.TASTES),
    ):
        facts += [_fact(task, x, y) for y, things in table.items() for x in things.split()]
    return facts


def _words() -> list[Fact]:
    facts = [_fact("plural", x, y) for x, y in world.table(world.PLURALS)]
    facts += [_fact("past", x, y) for x, y in world.table(world.PASTS)]
    for task, text in (("opposite", world.OPPOSITES), ("rhyme", world.RHYMES)):
        for x, y in world.table(text):
            group = f"{task}:{x}/{y}"
            facts += [_fact(task, x, y, group), _fact(task, y, x, group)]
    for word in world.LETTER_WORDS:
        facts += [
            _fact("first_letter", word, word[0]),
            _fact("last_letter", word, word[-1]),
            _fact("count_letters", word, number_word(len(word))),
            _fact("spell", word, " ".join(word)),
            _fact("reverse", word, " ".join(reversed(word))),
        ]
    return facts


def _orders() -> list[Fact]:
    facts = []
    chains = [
        ("day", [*world.DAYS, world.DAYS[0]]),
        ("month", [*world.MONTHS, world.MONTHS[0]]),
        ("letter", [chr(code) for code in range(ord("a"), ord("z") + 1)]),
        ("number", [number_word(value) for value in range(31)]),
    ]
    for kind, chain in chains:
        for x, y in pairwise(chain):
            group = f"order:{x}>{y}"
            facts += [
                _fact("after", x, y, group, kind=kind),
                _fact("before", y, x, group, kind=kind),
            ]
    for season, months in world.SEASONS.items():
        facts += [_fact("season", world.MONTHS[month], season) for month in months]
    for x, parts, count in world.table(world.UNITS):
        facts.append(_fact("unit", x, count, parts=parts))
    return facts


def _numbers() -> list[Fact]:
    facts = []
    for a in range(11):
        for b in range(a, 11):
            facts.append(_sum_fact("add", a, b, a + b))
    for a in range(13):
        facts += [_sum_fact("subtract", a, b, a - b) for b in range(a + 1)]
    facts += [_fact("digits", number_word(n), str(n)) for n in range(100)]
    facts += [_fact("parity", number_word(n), "odd" if n % 2 else "even") for n in range(61)]
    return facts


def _sum_fact(task: str, a: int, b: int, result: int) -> Fact:
    sign = "+" if task == "add" else "-"
    return _fact(
        task,
        number_word(a),
        number_word(result),
        key=f"{a}{sign}{b}",
        a=number_word(a),
        b=number_word(b),
        da=str(a),
        db=str(b),
        dy=str(result),
    )


def _samples(rng: random.Random) -> list[Fact]:
    """Facts picked from too many to list: which of two animals is bigger, lists of words."""
    facts = []
    sizes = world.SIZES
    pairs = [(a, b) for i, a in enumerate(sizes) for b in sizes[i + 2 :]]
    for small, big in sorted(rng.sample(pairs, 120)):
        key = "/".join(sorted((small, big)))
        facts.append(
            _fact(
                "bigger", big, f"the {big}", key=key, a=f"the {big}", b=f"the {small}", small=small
            )
        )
    for task, place in (("first_item", 0), ("last_item", 2)):
        for _ in range(90):
            words = rng.sample(world.LIST_WORDS, 3)
            key = ", ".join(words)
            facts.append(_fact(task, words[0], words[place], key=key, items=key))
    for _ in range(60):
        words = rng.sample(world.LIST_WORDS, 3)
        items, ordered = ", ".join(words), ", ".join(sorted(words))
        facts.append(_fact("sort", words[0], ordered, key=items, items=items))
    return facts


@cache
def all_facts() -> tuple[Fact, ...]:
    """Return every fact of the world, in a fixed order, each (task, key) once."""
    everything = _lookups() + _words() + _orders() + _numbers() + _samples(random.Random(20))
    unique = {fact.identity: fact for fact in everything}
    return tuple(unique.values())
