"""What the instruction dataset promises: its size, its variety, and that nothing leaks."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest

Row = dict[str, str]
SETS = ("train", "valid", "instances", "phrasings", "tasks", "cloze")
SHOWN = ("train", "valid", "phrasings")
"""The sets in which no fact of *instances* may appear."""


@pytest.fixture(scope="module")
def sets(instruct_dir: Path) -> dict[str, list[Row]]:
    return {
        name: [
            json.loads(line)
            for line in (instruct_dir / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for name in SETS
    }


@pytest.fixture(scope="module")
def askings(recipe: SimpleNamespace) -> dict[tuple[str, str], list[tuple]]:
    """Every way to ask for every fact: (task, instruction) -> (fact, wording) pairs."""
    found = defaultdict(list)
    for fact in recipe.facts.all_facts():
        if fact.task not in recipe.phrasings.OWN:
            continue
        slots = dict(fact.slots)
        a, b = slots.get("a", ""), slots.get("b", "")
        wordings = recipe.phrasings.trained(fact.task) + recipe.phrasings.held_out(fact.task)
        for wording in wordings:
            for p, q in {(a, b), (b, a)}:
                asked = wording.format(p=p, q=q, **slots)
                found[fact.task, asked[0].upper() + asked[1:]].append((fact, wording))
    return found


def _pattern(wording: str) -> re.Pattern[str]:
    """Match whatever a wording becomes when its slots are filled."""
    parts = re.split(r"\{\w+\}", wording)
    return re.compile(".+".join(re.escape(part) for part in parts), re.IGNORECASE)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\w'-]+", text.lower()))


def test_files_are_what_the_recipe_writes(recipe, sets):
    assert recipe.instructions.build() == sets


def test_rows_have_the_four_fields_and_short_answers(sets):
    for name in set(SETS) - {"cloze"}:
        for row in sets[name]:
            assert set(row) == {"instruction", "input", "output", "task"}
            assert row["output"] == row["output"].strip()
            assert 1 <= len(row["output"].split()) <= 8


def test_no_instruction_comes_twice(sets):
    asked = [row["instruction"] for name in set(SETS) - {"cloze"} for row in sets[name]]
    assert len(asked) == len(set(asked))


def test_training_has_enough_rows_tasks_and_wordings(sets, askings):
    train = sets["train"]
    assert len(train) >= 1500
    wordings = defaultdict(set)
    for row in train:
        wordings[row["task"]] |= {w for _, w in askings[row["task"], row["instruction"]]}
    assert len(wordings) >= 12
    assert min(map(len, wordings.values())) >= 10


@pytest.mark.parametrize(
    ("name", "least"), [("instances", 150), ("phrasings", 150), ("tasks", 100)]
)
def test_held_out_sets_are_large_enough(sets, name, least):
    assert len(sets[name]) >= least


def test_every_row_asks_for_a_fact_and_gives_its_answer(sets, askings):
    for name in set(SETS) - {"cloze"}:
        for row in sets[name]:
            facts = [fact for fact, _ in askings[row["task"], row["instruction"]]]
            assert facts, row
            assert {fact.answer for fact in facts} == {row["output"]}


def test_no_fact_of_instances_is_asked_for_elsewhere(sets, askings):
    def facts(name: str, attribute: str) -> set:
        return {
            getattr(fact, attribute)
            for row in sets[name]
            for fact, _ in askings[row["task"], row["instruction"]]
        }

    for name in SHOWN:
        assert not facts("instances", "identity") & facts(name, "identity")
        assert not facts("instances", "group") & facts(name, "group")


def test_no_row_elsewhere_holds_the_words_of_an_instances_fact(sets, askings):
    """As above, but on the text alone: subject and answer of a fact, in a row of its task."""
    shown = defaultdict(list)
    for name in SHOWN:
        for row in sets[name]:
            shown[row["task"]].append((_words(row["instruction"]), row))
    for row in sets["instances"]:
        for fact, _ in askings[row["task"], row["instruction"]]:
            slots = dict(fact.slots)
            operands = slots.get("items") or " ".join(slots[s] for s in ("a", "b") if s in slots)
            if fact.task == "subtract":  # a word set cannot tell a - b from b - a
                operands = f"{slots['a']} minus {slots['b']}"
            subject = _words(operands or slots["x"])
            if slots.get("a") == slots.get("b") is not None:
                continue  # nor a + a from a + b; their groups are compared above
            for words, other in shown[fact.task]:
                assert not (subject <= words and other["output"] == fact.answer) or (
                    "items" in slots and slots["items"] not in other["instruction"]
                ), (row, other)


def test_no_held_out_wording_is_trained(recipe, sets, askings):
    hidden = {
        (row["task"], wording)
        for row in sets["phrasings"]
        for _, wording in askings[row["task"], row["instruction"]]
    }
    assert hidden <= {
        (task, wording)
        for task in recipe.facts.TRAINED
        for wording in recipe.phrasings.held_out(task)
    }
    for task, wording in hidden:
        pattern = _pattern(wording)
        for name in ("train", "valid", "instances"):
            for row in sets[name]:
                if row["task"] == task:
                    assert not pattern.fullmatch(row["instruction"]), (wording, row)


def test_no_general_held_out_wording_is_trained_in_any_task(recipe, sets):
    for wording in recipe.phrasings.GENERAL_HELD_OUT:
        pattern = _pattern(wording)
        for name in ("train", "valid", "instances", "tasks"):
            assert not [row for row in sets[name] if pattern.fullmatch(row["instruction"])]


def test_whole_tasks_are_held_out(recipe, sets):
    trained = {
        row["task"] for name in ("train", "valid", "instances", "phrasings") for row in sets[name]
    }
    hidden = {row["task"] for row in sets["tasks"]}
    assert hidden == set(recipe.facts.HELD_OUT)
    assert len(hidden) >= 2
    assert not hidden & trained
    languages = {row["output"].lower() for row in sets["tasks"] if row["task"] == "language"}
    for name in ("train", "valid"):
        for row in sets[name]:
            assert not languages & _words(row["instruction"] + " " + row["output"])
            assert not {"language", "young of", "home of"} & {
                phrase
                for phrase in ("language", "young of", "home of")
                if phrase in row["instruction"]
            }


def test_corpus_states_every_held_out_fact(recipe, sets, askings):
    stated, texts = set(), defaultdict(list)
    for document in recipe.corpus.documents(3000):
        stated |= {fact.identity for fact in document.facts}
        for fact in document.facts:
            texts[fact.identity].append(document.text)
    for name in ("instances", "tasks"):
        for row in sets[name]:
            for fact, _ in askings[row["task"], row["instruction"]]:
                assert fact.identity in stated
                both = _words(fact.answer) | _words(dict(fact.slots)["x"])
                assert any(both <= _words(text) for text in texts[fact.identity])


def test_corpus_holds_no_questions_and_no_instructions(recipe, sets):
    opening = re.compile(
        r"(what|which|who|whom|whose|how|where|why|please|tell|name|give|say|write|spell|find|"
        r"add|take|put|turn|make|can|could|do|does|is|are|let|look)\b|(question|answer|q|a):",
        re.IGNORECASE,
    )
    asked = {row["instruction"] for name in set(SETS) - {"cloze"} for row in sets[name]}
    for document in recipe.corpus.documents(3000):
        assert "?" not in document.text
        for sentence in re.split(r"(?<=[.!]) |\n", document.text):
            assert not opening.match(sentence), sentence
            assert sentence not in asked


def test_cloze_asks_for_the_facts_of_instances(sets):
    assert {(row["task"], row["answer"]) for row in sets["cloze"]} == {
        (row["task"], row["output"]) for row in sets["instances"]
    }
    assert not any("?" in row["text"] for row in sets["cloze"])
