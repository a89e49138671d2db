"""Write the instruction dataset: what is trained and the three sets that are held out.

The split is made on facts, wordings and tasks, before any row is written:

* *instances*: facts that the corpus states and no other set of rows asks for;
* *phrasings*: trained facts in wordings that no training row uses;
* *tasks*: whole relations that are never trained.

    python instructions.py --out ../../edgetune/assets/instruct
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Generic, TypeVar

import phrasings
from facts import HELD_OUT, TRAINED, Fact, all_facts
from sentences import SPEECH

SEED = 5
TRAIN_ROWS_PER_TASK = 112
VALID_ROWS_PER_TASK = 4
INSTANCES_PER_TASK = 8
HELD_OUT_SHARE = 6
"""At most one fact in this many is held out of a task."""
OWN_PHRASINGS, GENERAL_PHRASINGS = 4, 4
"""Rows per task of the phrasings set: in the task's own wordings and in general ones."""

Row = dict[str, str]
Card = TypeVar("Card")


def held_out_groups(rng: random.Random) -> set[str]:
    """Pick the groups of facts that no row but those of *instances* may ask for."""
    picked: set[str] = set()
    for task in TRAINED:
        groups: dict[str, int] = {}
        for fact in all_facts():
            if fact.task == task:
                groups[fact.group] = groups.get(fact.group, 0) + 1
        wanted = min(INSTANCES_PER_TASK, sum(groups.values()) // HELD_OUT_SHARE)
        wanted -= sum(count for group, count in groups.items() if group in picked)
        for group in rng.sample(sorted(groups), len(groups)):
            if wanted <= 0:
                break
            picked.add(group)
            wanted -= groups[group]
    return picked


def row(fact: Fact, wording: str, rng: random.Random) -> Row:
    """Ask for `fact` in `wording`."""
    slots = dict(fact.slots)
    operands = [slots.get("a", ""), slots.get("b", "")]
    if rng.random() < 0.5:
        operands.reverse()
    asked = wording.format(p=operands[0], q=operands[1], **slots)
    return {
        "instruction": asked[0].upper() + asked[1:],
        "input": "",
        "output": fact.answer,
        "task": fact.task,
    }


class Deal(Generic[Card]):
    """Deals from a list in random order, starting over with a new order at its end."""

    def __init__(self, cards: list[Card], rng: random.Random) -> None:
        self._cards, self._rng = cards, rng
        self._left: list[Card] = []

    def __call__(self) -> Card:
        """Return the next card."""
        if not self._left:
            self._left = self._rng.sample(self._cards, len(self._cards))
        return self._left.pop()


def rows(
    facts: list[Fact], wordings: list[str], count: int, taken: set[str], rng: random.Random
) -> list[Row]:
    """Return `count` rows, none in `taken`; facts and wordings come up about equally often."""
    next_fact, next_wording = Deal(facts, rng), Deal(wordings, rng)
    found: list[Row] = []
    while len(found) < count:
        new = row(next_fact(), next_wording(), rng)
        if new["instruction"] not in taken:
            taken.add(new["instruction"])
            found.append(new)
    return found


def cloze(fact: Fact) -> list[Row]:
    """Return openings in the corpus's own prose that the fact's answer continues."""
    slots = dict(fact.slots)
    texts = [
        form.format(p=slots.get("a"), q=slots.get("b"), **slots) for form in SPEECH[fact.task].cloze
    ]
    return [{"text": t[0].upper() + t[1:], "answer": fact.answer, "task": fact.task} for t in texts]


def build(seed: int = SEED) -> dict[str, list[Row]]:
    """Return every set's rows by file name."""
    rng = random.Random(seed)
    groups = held_out_groups(rng)
    sets: dict[str, list[Row]] = {
        name: [] for name in ("train", "valid", "instances", "phrasings", "tasks", "cloze")
    }
    for task in TRAINED:
        facts = [fact for fact in all_facts() if fact.task == task]
        known = [fact for fact in facts if fact.group not in groups]
        hidden = [fact for fact in facts if fact.group in groups]
        wordings = phrasings.trained(task)
        taken: set[str] = set()
        own = list(phrasings.OWN[task].held_out)
        general = phrasings.held_out(task)[len(own) :]
        sets["train"] += rows(known, wordings, TRAIN_ROWS_PER_TASK, taken, rng)
        sets["valid"] += rows(known, wordings, VALID_ROWS_PER_TASK, taken, rng)
        sets["instances"] += rows(hidden, wordings, len(hidden), taken, rng)
        sets["phrasings"] += rows(known, own, OWN_PHRASINGS, taken, rng)
        sets["phrasings"] += rows(known, general, GENERAL_PHRASINGS, taken, rng)
        sets["cloze"] += [opening for fact in hidden for opening in cloze(fact)]
    for task in HELD_OUT:
        facts = [fact for fact in all_facts() if fact.task == task]
        sets["tasks"] += rows(facts, phrasings.trained(task), len(facts), set(), rng)
    rng.shuffle(sets["train"])
    return sets


def write(directory: Path) -> None:
    """Write one JSON Lines file per set, each beside its target and renamed."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in build().items():
        partial = directory / f"{name}.partial"
        with partial.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in content)
        partial.replace(directory / f"{name}.jsonl")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("../../edgetune/assets/instruct"))
    write(parser.parse_args().out)
