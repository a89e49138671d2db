"""Planted faults: each is found where it is, and nothing else is said against the data."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from edgetune.config import DataConfig, RunConfig, SourceConfig
from edgetune.data.inspection import inspect

Place = tuple[str, str, int]
"""Kind of a finding, name of the file, line."""

CAPITALS = [
    ("France", "Paris", "the Seine"),
    ("Spain", "Madrid", "the Manzanares"),
    ("Austria", "Vienna", "the Danube"),
    ("Egypt", "Cairo", "the Nile"),
    ("Italy", "Rome", "the Tiber"),
    ("Portugal", "Lisbon", "the Tagus"),
    ("Serbia", "Belgrade", "the Sava"),
    ("Thailand", "Bangkok", "the Chao Phraya"),
]
WORDS = ["kettle", "harbour", "violin", "glacier", "orchard", "lantern", "saddle", "compass"]
ADVICE = [
    ("sleep better", "Go to bed at the same hour every night, keep the room dark and cool"),
    ("learn chess", "Play slow games, look at each of them afterwards and solve a few puzzles"),
    ("save water", "Repair dripping taps, take shorter showers and collect rain for the garden"),
    ("write clearly", "Put the main point first, cut what repeats it and read the text aloud"),
    ("run a marathon", "Add a little distance each week, rest well and never skip a warm-up"),
    ("grow tomatoes", "Plant them in full sun, water the roots and tie the stems to a stake"),
]
SUMMARIES = [
    "The museum opened a new wing on Monday. It shows two hundred paintings by local artists, "
    "most of which had never left their owners' houses before.",
    "Engineers have replaced the old bridge over the valley. The new one carries trains as well "
    "as cars and is meant to last for a century.",
    "A team of divers found a wreck off the northern coast. Coins in its hold suggest that it "
    "sank in the spring of 1742 on its way home.",
    "The school changed its timetable this year. Lessons begin an hour later, and teachers say "
    "that pupils are far more attentive in the first period.",
]


def alpaca_rows() -> list[dict[str, Any]]:
    """Rows as people write and generate them: templates, sums, prose, lists, code, one word."""
    rows = []
    for country, capital, river in CAPITALS:
        rows += [
            (f"What is the capital of {country}?", "", f"The capital of {country} is {capital}."),
            ("On which river does this city lie?", capital, f"{capital} lies on {river}."),
        ]
    rows += [
        (f"Add {a} and {b}.", "", f"{a} + {b} = {a + b}")
        for a, b in zip((3, 8, 21), (9, 4, 6), strict=True)
    ]
    rows += [("Spell this word backwards.", word, word[::-1]) for word in WORDS] + [
        (f"Use the word “{word}” in a sentence.", "", f"She had left the {word} where {where}.")
        for word, where in zip(
            WORDS,
            [
                "nobody would look for it",
                "the road ends",
                "her brother used to sit",
                "the wind is coldest",
                "the children play",
                "the stairs turn",
                "it belonged",
                "the old maps were kept",
            ],
            strict=True,
        )
    ]
    rows += [
        (f"How can I {what}?", "", f"{advice}. Be patient, because such things take weeks.")
        for what, advice in ADVICE
    ]
    rows += [
        ("Summarize the text in a few words.", text, f"{text.split('. ')[0]}.")
        for text in SUMMARIES
    ]
    rows += [
        ("Name three fruits.", "", "1. Apple\n2. Pear\n3. Plum"),
        ("Is the sentence a question?", "Where did they go?", "yes"),
        ("Is the sentence a question?", "They went home.", "no"),
        ("Write a Python function that doubles a number.", "", "def double(x):\n    return 2 * x"),
        ("Give an example of an e-mail address.", "", "For instance jane@example.com."),
        (
            "Write a haiku about rain.",
            "",
            "Grey rain on the roof\na cat counts every small drop\nthe kettle answers",
        ),
        ("Translate into German.", "The river is wide.", "Der Fluss ist breit."),
        ("日本の首都はどこですか。", "", "日本の首都は東京です。"),
        (
            "Explain why the sky is blue.",
            "",
            "Air scatters short waves of light more than long "
            "ones, so blue light reaches the eye from every direction.",
        ),
    ]
    keys = ("instruction", "input", "output")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def chat_rows() -> list[dict[str, Any]]:
    """Conversations of several turns, with a system message or a tool here and there."""
    rows = []
    for (what, advice), (country, capital, _) in zip(ADVICE, CAPITALS, strict=False):
        turns = [
            ("system", "You are a patient guide."),
            ("user", f"I would like to {what}. Where do I begin?"),
            ("assistant", f"{advice}."),
            ("user", f"Thanks! By the way, which city is the capital of {country}?"),
            ("assistant", f"That is {capital}."),
        ]
        rows.append({"messages": [{"role": role, "content": said} for role, said in turns]})
    return rows


def valid_rows() -> list[dict[str, Any]]:
    """Rows like those of ``alpaca_rows``, none of them the same."""
    rows = [
        ("What is the capital of Peru?", "", "The capital of Peru is Lima."),
        ("On which river does this city lie?", "London", "London lies on the Thames."),
        ("Add 14 and 5.", "", "14 + 5 = 19"),
        ("Spell this word backwards.", "pebble", "elbbep"),
        ("How can I cook rice?", "", "Rinse it, use twice as much water and leave the lid closed."),
        (
            "Describe how bread is baked.",
            "",
            "Flour, water, salt and yeast are kneaded into a "
            "dough, which rises for some hours and is then baked in a hot oven until it is brown.",
        ),
    ]
    keys = ("instruction", "input", "output")
    return [dict(zip(keys, row, strict=True)) for row in rows]


class Data:
    """Three files of rows, to plant faults in."""

    def __init__(self, seed: int) -> None:
        shuffled = random.Random(seed)
        self.lines: dict[str, list[bytes]] = {}
        self.rows = {
            "train.jsonl": alpaca_rows(),
            "chat.jsonl": chat_rows(),
            "valid.jsonl": valid_rows(),
        }
        self.expected: list[Place] = []
        for name, rows in self.rows.items():
            shuffled.shuffle(rows)
            self.lines[name] = [_line(row) for row in rows]

    def plant(self, kind: str, name: str, row: dict[str, Any] | bytes) -> None:
        """One more line at the end of a file, of which ``kind`` is to be said."""
        self.lines[name].append(row if isinstance(row, bytes) else _line(row))
        self.expected.append((kind, name, len(self.lines[name])))

    def write(self, folder: Path) -> RunConfig:
        for name, lines in self.lines.items():
            (folder / name).write_bytes(b"".join(line + b"\n" for line in lines))
        train, chat, valid = (SourceConfig(path=str(folder / name)) for name in self.lines)
        return RunConfig(data=DataConfig(train=[train, chat], valid=[valid], max_length=1500))


def _line(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


def said_against(config: RunConfig, model: Path | None = None) -> list[Place]:
    """All errors and warnings."""
    if model:
        config = config.model_copy(update={"model": str(model)})
    return sorted(
        (item["kind"], Path(item["file"]).name, item["line"])
        for item in inspect(config)["findings"]
        if item["grade"] != "note"
    )


def answered(text: str, question: str = "Tell me more about the lighthouse keeper.") -> dict:
    return {"instruction": question, "input": "", "output": text}


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": said} for role, said in turns]}


STORY = (
    "The keeper climbed the stairs twice a night, wound the clockwork that turned the lamp, "
    "and wrote down every ship that passed. In winter nobody came for weeks, and he read the same "
    "few books until he knew them by heart."
)


def plant_all(data: Data) -> None:
    train, other = data.rows["train.jsonl"], data.rows["chat.jsonl"]
    long_ones = [row for row in train if row["input"] in SUMMARIES]
    data.plant("broken", "train.jsonl", b'{"instruction": "Say when.", "output": "Wh')
    data.plant("encoding", "train.jsonl", b'{"instruction": "Say caf\xe9.", "output": "No."}')
    data.plant("nul", "train.jsonl", b'{"instruction": "Say it.", "output": "It\x00 is."}')
    data.plant(
        "duplicate-key",
        "train.jsonl",
        b'{"instruction": "Name a metal.", "output": "Iron.", "output": "Copper."}',
    )
    data.plant("duplicate", "train.jsonl", train[4])
    text = long_ones[0]["output"]
    data.plant(
        "near-duplicate",
        "train.jsonl",
        long_ones[0]
        | {
            "output": text.replace("new", "large")
            .replace("old", "big")
            .replace("A team", "The team")
            .replace("changed", "altered")
        },
    )
    shouted = next(row for row in train if row["instruction"].startswith("Explain why"))
    data.plant("near-duplicate", "train.jsonl", shouted | {"output": shouted["output"].upper()})
    data.plant("truncated", "train.jsonl", answered(STORY[:115].rsplit(" ", 1)[0] + " and the"))
    data.plant("empty", "train.jsonl", answered(" "))
    data.plant("malformed", "train.jsonl", {"instruction": "Say nothing.", "input": ""})
    data.plant(
        "secret",
        "train.jsonl",
        answered("Use the key AKIAQ3EGRCJ5XNVT7PLM for it.", "Which key is it?"),
    )
    data.plant(
        "personal",
        "train.jsonl",
        answered("Write to marta.kowalska87@gmail.com about it.", "Whom do I ask?"),
    )
    data.plant(
        "personal",
        "train.jsonl",
        answered("It was paid with 4111 1111 1111 1111 last week.", "How was the rent paid?"),
    )
    data.plant(
        "overlong",
        "train.jsonl",
        answered(" ".join(f"The {n}th ship was late." for n in range(300)), "List the ships."),
    )
    data.plant(
        "placeholder",
        "train.jsonl",
        answered("My name is {{name}}, and I am glad to help.", "What are you called?"),
    )
    data.plant(
        "control-text",
        "train.jsonl",
        answered("That is all.<|im_end|>", "Is there anything else to say?"),
    )
    data.plant("format", "train.jsonl", {"alpha": 1, "beta": "two"})
    data.plant("role", "chat.jsonl", chat(("user", "Who are you?"), ("narrator", "Nobody knows.")))
    data.plant(
        "two-users",
        "chat.jsonl",
        chat(("user", "Hello there."), ("user", "Is anyone in?"), ("assistant", "Yes, come in.")),
    )
    data.plant(
        "ends-with-user",
        "chat.jsonl",
        chat(
            ("user", "Good evening."),
            ("assistant", "Good evening to you."),
            ("user", "What is for dinner?"),
        ),
    )
    data.plant("no-answer", "chat.jsonl", chat(("user", "Does nobody answer?")))
    data.plant("leak", "valid.jsonl", train[2])
    data.plant("leak", "valid.jsonl", other[1])
    moved = long_ones[1]
    data.plant(
        "near-leak",
        "valid.jsonl",
        moved | {"input": moved["input"].replace(". ", "! "), "output": moved["output"].lower()},
    )
    data.plant(
        "near-leak", "valid.jsonl", long_ones[2] | {"output": "Nothing much happened, it seems."}
    )


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_said_against_clean_data(tmp_path: Path, tiny_model: Path, seed: int) -> None:
    config = Data(seed).write(tmp_path)
    assert said_against(config) == []
    assert said_against(config, tiny_model) == []


@pytest.mark.parametrize("seed", range(3))
def test_every_planted_fault_is_found_and_nothing_else(
    tmp_path: Path, tiny_model: Path, seed: int
) -> None:
    data = Data(seed)
    plant_all(data)
    assert len(data.expected) >= 20
    assert said_against(data.write(tmp_path), tiny_model) == sorted(data.expected)
