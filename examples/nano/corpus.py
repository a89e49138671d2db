"""Write the corpus: documents of prose and records about the world, from a seed.

Every document is made of statements about facts, several in one document and in ever new
surroundings, so that a model gains more by learning the facts than by learning the documents.
Decks are shuffled and dealt to the end before they are shuffled again: every fact is said about
equally often. Only `random.Random` is used, so a seed gives the same text everywhere.

    python corpus.py --out corpus.jsonl
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import speech
import world
from facts import Fact, all_facts, article
from sentences import SPEECH

SEED = 7
DOCUMENTS = 80_455
Card = TypeVar("Card")
RECORD_SEPARATORS = (": ", " = ", " - ", " | ", "\n ")


@dataclass(frozen=True)
class Document:
    """A text and the facts it states."""

    text: str
    facts: tuple[Fact, ...]


class Deck(Generic[Card]):
    """Deals its cards in random order, all of them before any comes again."""

    def __init__(self, cards: list[Card], rng: random.Random) -> None:
        self._cards, self._rng, self._next = list(cards), rng, len(cards)

    def deal(self) -> Card:
        """Return the next card."""
        if self._next == len(self._cards):
            self._rng.shuffle(self._cards)
            self._next = 0
        self._next += 1
        return self._cards[self._next - 1]


class Writer:
    """Writes documents; all its choices come from one random generator."""

    def __init__(self, seed: int = SEED) -> None:
        self.rng = random.Random(seed)
        told = [fact for fact in all_facts() if fact.task in SPEECH]
        by_task: dict[str, list[Fact]] = {}
        by_entity: dict[str, list[Fact]] = {}
        for fact in told:
            by_task.setdefault(fact.task, []).append(fact)
            by_entity.setdefault(fact.entity, []).append(fact)
        self._answers = {
            task: sorted({fact.answer for fact in facts}) for task, facts in by_task.items()
        }
        self._everything = Deck(told, self.rng)
        self._tasks = {task: Deck(facts, self.rng) for task, facts in by_task.items()}
        # A relation heads as many documents as its facts need to be said equally often.
        self._themes = Deck([fact.task for fact in told], self.rng)
        self._entities = Deck([facts for facts in by_entity.values() if len(facts) > 1], self.rng)

    def document(self) -> Document:
        """Write one document."""
        kind = self.rng.random()
        if kind < 0.45:
            return self._prose([self._everything.deal() for _ in range(self.rng.randint(5, 10))])
        if kind < 0.65:
            deck = self._tasks[self._themes.deal()]
            return self._prose([deck.deal() for _ in range(self.rng.randint(5, 9))])
        if kind < 0.82:
            about = self._entities.deal()
            return self._prose([self.rng.choice(about) for _ in range(self.rng.randint(4, 8))])
        if kind < 0.97:
            return self._records()
        return self._story()

    def sentence(self, fact: Fact) -> str:
        """Say a fact in one sentence, with its capital letter and full stop."""
        said = self.clause(fact)
        if self.rng.random() < 0.4:
            said = self._fill(self.rng.choice(speech.WRAPPERS), s=said)
        return said[0].upper() + said[1:] + "."

    def clause(self, fact: Fact) -> str:
        """Say a fact as a clause that can stand inside another sentence."""
        forms = SPEECH[fact.task]
        slots = self._slots(fact)
        if self.rng.random() < 0.45:
            return self.rng.choice(forms.says).format(**slots)
        phrase = self.rng.choice(forms.nps).format(**slots)
        frame = self.rng.choice(speech.FRAMES)
        return frame.format(np=phrase, **slots, **{"is": forms.copula})

    def _slots(self, fact: Fact) -> dict[str, str]:
        slots = dict(fact.slots)
        others = [answer for answer in self._answers[fact.task] if answer != fact.answer]
        pair = [slots.get("a", ""), slots.get("b", "")]
        digits = [slots.get("da", ""), slots.get("db", "")]
        if self.rng.random() < 0.5 and fact.task != "subtract":
            pair.reverse()
            digits.reverse()
        names = self.rng.sample(world.NAMES, 2)
        slots.update(z=self.rng.choice(others), ay=f"{article(fact.answer)} {fact.answer}")
        slots.update(p=pair[0], q=pair[1], da=digits[0], db=digits[1])
        slots.update(name=names[0], name2=names[1])
        return slots

    def _fill(self, template: str, **slots: str) -> str:
        return template.format(
            name=self.rng.choice(world.NAMES), page=self.rng.randint(1, 99), **slots
        )

    def _prose(self, facts: list[Fact]) -> Document:
        parts = [self._fill(self.rng.choice(speech.OPENINGS))] if self.rng.random() < 0.1 else []
        parts += [self.sentence(fact) for fact in facts]
        breaks = self.rng.choice((0.0, 0.2, 1.0))
        text = parts[0]
        for part in parts[1:]:
            text += ("\n" if self.rng.random() < breaks else " ") + part
        return Document(text, tuple(facts))

    def _records(self) -> Document:
        deck = self._everything if self.rng.random() < 0.5 else self._tasks[self._themes.deal()]
        facts = [deck.deal() for _ in range(self.rng.randint(5, 9))]
        separator = self.rng.choice(RECORD_SEPARATORS)
        lines = [self._fill(self.rng.choice(speech.OPENINGS))]
        for fact in facts:
            key = self.rng.choice(SPEECH[fact.task].nps).format(**self._slots(fact))
            if self.rng.random() < 0.5:
                key = key.removeprefix("the ")
            lines.append(f"{key[0].upper()}{key[1:]}{separator}{fact.answer}")
        lines.append(self._fill(self.rng.choice(speech.CLOSINGS)))
        return Document("\n".join(lines), tuple(facts))

    def _story(self) -> Document:
        stories = []
        for _ in range(self.rng.randint(1, 3)):
            a, b = self.rng.sample(speech.STORY_ACTORS, 2)
            thing = self.rng.choice(speech.STORY_THINGS)
            stories.append(self.rng.choice(speech.STORIES).format(a=a, b=b, thing=thing))
        return Document("\n".join(stories), ())


def documents(count: int, seed: int = SEED) -> Iterator[Document]:
    """Yield the first `count` documents of the corpus."""
    writer = Writer(seed)
    for _ in range(count):
        yield writer.document()


def digest(texts: list[str]) -> str:
    """Return the SHA-256 of the texts, in order, as hexadecimal."""
    joined = hashlib.sha256()
    for text in texts:
        joined.update(text.encode() + b"\0")
    return joined.hexdigest()


def write(path: Path, count: int, seed: int = SEED) -> str:
    """Write `count` documents as JSON lines and return their digest."""
    texts = [document.text for document in documents(count, seed)]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as stream:
        for text in texts:
            stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    partial.replace(path)
    return digest(texts)


def read(path: Path) -> list[str]:
    """Read the texts of a corpus file."""
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line)["text"] for line in stream]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=Path("corpus.jsonl"))
    arguments = parser.parse_args()
    print(write(arguments.out, arguments.documents, arguments.seed))
