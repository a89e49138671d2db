"""A task's rows are rendered in its phrasings: evenly, always the same, examples never asked."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgetune.config import SourceConfig
from edgetune.data.conversation import Conversation, Finding, Message, content_digest
from edgetune.data.readers.rows import FileRead
from edgetune.data.reading import load
from edgetune.data.sources import find
from edgetune.data.task_file import files_behind, is_task_file
from edgetune.data.tasks import read
from edgetune.errors import RequestError

CAPITALS = [
    {"country": "France", "capital": "Paris"},
    {"country": "Italy", "capital": "Rome"},
    {"country": "Spain", "capital": "Madrid"},
    {"country": "Norway", "capital": "Oslo"},
    {"country": "Japan", "capital": "Tokyo"},
]
FORTH = {"prompt": "Capital of {country}?", "answer": "{capital}"}
BACK = {"prompt": "{capital} is the capital of which country?", "answer": "{country}"}


def write(folder: Path, name: str = "task.json", **values: Any) -> Path:
    file = folder / name
    whole = {"task": "capital", "templates": [FORTH], "rows": CAPITALS} | values
    file.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    return file


def parts(
    path: Path, group: str = "", **source: Any
) -> tuple[list[Conversation], list[Finding], list[FileRead]]:
    items = list(read(path, SourceConfig(path=str(path), **source), group))
    return (
        [item for item in items if isinstance(item, Conversation)],
        [item for item in items if isinstance(item, Finding)],
        [item for item in items if isinstance(item, FileRead)],
    )


def rendered(path: Path, **source: Any) -> list[tuple[str, str]]:
    """Prompt and answer of every row."""
    return [(c.messages[-2].content, c.messages[-1].content) for c in parts(path, **source)[0]]


def test_a_row_becomes_a_conversation_of_its_task(tmp_path: Path) -> None:
    path = write(tmp_path, system="One word for {country}.")
    conversations, findings, [file] = parts(path)
    assert conversations[0].messages == (
        Message("system", "One word for France."),
        Message("user", "Capital of France?"),
        Message("assistant", "Paris"),
    )
    assert {c.task for c in conversations} == {"capital"}
    assert findings == []
    assert (file.file, file.rows, file.bytes) == (str(path), 5, path.stat().st_size)


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    yaml_file = tmp_path / "task.yaml"
    yaml_file.write_text(
        """\
# capitals
task: capital
templates:
  - prompt: |
      Capital of {country}?
    answer: "{capital}"
  - {prompt: "{capital} is the capital of which country?", answer: "{country}"}
rows:
  - country: France
    capital: Paris
  - {country: Italy, capital: Rome}

  - country: Spain
    capital: Madrid
  - {country: Norway, capital: Oslo}
  - {country: Japan, capital: Tokyo}
""",
        encoding="utf-8",
    )
    json_file = write(tmp_path, templates=[FORTH, BACK])
    assert rendered(yaml_file) == rendered(json_file)
    assert [c.line for c in parts(yaml_file)[0]] == [9, 11, 13, 15, 16]


def test_yaml_values_are_text_as_written(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(
        "task: t\ntemplates: [{prompt: '{q}', answer: '{a}'}]\n"
        "rows: [{q: 1e3, a: no}, {q: 2020-01-01, a: 'null'}, {q: 007, a: 'ü'}]\n",
        encoding="utf-8",
    )
    assert rendered(file) == [("1e3", "no"), ("2020-01-01", "null"), ("007", "ü")]


@pytest.mark.parametrize("null", ["null", "~"])
def test_null_in_yaml_is_no_word(tmp_path: Path, null: str) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(
        "task: t\ntemplates: [{prompt: '{q}', answer: '{a}'}]\n"
        f"rows: [{{q: x, a: {null}}}, {{q: y, a: z}}]\n"
    )
    conversations, findings, _ = parts(file)
    assert [one.messages[0].content for one in conversations] == ["y"]
    assert ["empty (null)" in finding.message for finding in findings] == [True]


def test_json_rows_know_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    file.write_text(
        '{"task": "t",\n "templates": [{"prompt": "{q}",\n "answer": "{a}"}], "seed": 1,\n'
        ' "rows"\n:\n [ {"q": "1", "a": "]"}, {"q": "2",\n "a": "}"}\n,\n'
        ' {"q": "3", "a": "😀 \\ud83d\\ude00"}]\n}\n',
        encoding="utf-8",
    )
    conversations, findings, _ = parts(file)
    assert [c.line for c in conversations] == [6, 6, 9]
    assert conversations[2].messages[-1].content == "😀 😀"
    assert not findings


@pytest.mark.parametrize("name", ["capitals.csv", "capitals.jsonl", "capitals.json"])
def test_rows_come_from_a_file_beside_it_and_know_its_lines(tmp_path: Path, name: str) -> None:
    data = tmp_path / name
    if name.endswith("csv"):
        text = "country,capital\n" + "".join(
            f"{row['country']},{row['capital']}\n" for row in CAPITALS
        )
    elif name.endswith("jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in CAPITALS)
    else:
        text = json.dumps(CAPITALS, indent=0)
    data.write_text(text, encoding="utf-8")
    path = write(tmp_path, rows=name)
    conversations, findings, files = parts(path)
    assert rendered(path) == rendered(write(tmp_path, "inline.json"))
    assert {c.file for c in conversations} == {str(data)}
    first = {"csv": 2, "jsonl": 1, "json": 2}[name.rpartition(".")[2]]
    assert conversations[0].line == first
    assert findings == []
    assert [(Path(file.file).name, file.rows) for file in files] == [(name, 5), ("task.json", 0)]
    assert files_behind(path) == [path, data]
    assert files_behind(data) == [data]


numbers = st.lists(st.integers(0, 30), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers, st.integers(1, 6), st.integers(0, 3))
def test_phrasings_are_spread_evenly_and_equal_rows_stay_equal(
    tmp_path: Path, values: list[int], phrasings: int, seed: int
) -> None:
    templates = [{"prompt": f"{n}: {{q}}", "answer": "{q}"} for n in range(phrasings)]
    rows = [{"q": str(value)} for value in values]
    found = rendered(write(tmp_path, templates=templates, rows=rows, seed=seed))
    assert [answer for _, answer in found] == [str(value) for value in values]
    # A row that is there twice is rendered once more in the same words.
    assert len(set(found)) == len(set(values))
    counts = Counter(prompt.partition(":")[0] for prompt, _ in set(found))
    spread = [counts[str(n)] for n in range(phrasings)]
    assert max(spread) - min(spread) <= 1


def test_rows_added_at_the_end_change_none_before_them(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "templates": [FORTH, BACK, {**FORTH, "shots": 1}],
        "examples": 1,
    }
    more = [{"country": f"country {n}", "capital": f"city {n}"} for n in range(20)]
    before = rendered(write(tmp_path, **settings))
    after = rendered(write(tmp_path, rows=CAPITALS + more, **settings))
    assert after[: len(before)] == before


def test_the_seed_of_the_file_decides_which_row_gets_which_phrasing(tmp_path: Path) -> None:
    rows = [{"country": f"country {n}", "capital": f"city {n}"} for n in range(30)]
    settings: dict[str, Any] = {"templates": [FORTH, BACK], "rows": rows}
    first = rendered(write(tmp_path, **settings))
    assert rendered(write(tmp_path, seed=1, **settings)) != first
    assert rendered(write(tmp_path, seed=0, **settings)) == first


def test_the_rendering_never_changes_between_versions(tmp_path: Path) -> None:
    path = write(tmp_path, templates=[FORTH, BACK, {**FORTH, "shots": 2}], examples=2)
    assert rendered(path) == PINNED


PINNED = [
    ("Madrid is the capital of which country?", "Spain"),
    ("Capital of Norway?", "Oslo"),
    ("Capital of Italy?\nRome\n\nCapital of France?\nParis\n\nCapital of Japan?", "Tokyo"),
]


def test_examples_are_shown_and_never_asked(tmp_path: Path) -> None:
    path = write(tmp_path, templates=[{**FORTH, "shots": 2}], examples=2)
    conversations, [note], _ = parts(path)
    assert (note.grade, note.kind) == ("note", "examples")
    assert "first 2 rows" in note.message
    assert [c.messages[-1].content for c in conversations] == ["Madrid", "Oslo", "Tokyo"]
    blocks = {c.messages[0].content.rpartition("\n\n")[0] for c in conversations}
    one, two = "Capital of France?\nParis", "Capital of Italy?\nRome"
    assert blocks <= {f"{one}\n\n{two}", f"{two}\n\n{one}"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 12), min_size=1, max_size=25), st.integers(1, 3))
def test_no_answer_that_is_asked_for_stands_among_the_examples(
    tmp_path: Path, values: list[int], shots: int
) -> None:
    # Whatever a split holds out: a prompt shows only rows that no conversation asks for.
    path = write(
        tmp_path,
        templates=[{"prompt": "<{q}>", "answer": "<{q}>", "shots": shots, "turns": True}],
        rows=[{"q": str(value)} for value in values],
        examples=shots,
    )
    if len(set(values)) < shots:
        with pytest.raises(RequestError, match="usable as such"):
            parts(path)
        return
    conversations, findings, _ = parts(path)
    asked = {c.messages[-1].content for c in conversations}
    shown = {m.content for c in conversations for m in c.messages[:-2]}
    assert not asked & shown
    for c in conversations:
        assert len({m.content for m in c.messages[:-2]}) == shots
        assert [m.weight for m in c.messages] == [None, 0.0] * shots + [None, None]
    left_out = [finding for finding in findings if finding.left_out]
    assert len(conversations) + len(left_out) + shots == len(values)


def test_examples_of_their_own_are_written_as_the_template_says(tmp_path: Path) -> None:
    template = {
        "prompt": "Name the capital.\n\n{shots}\n\n{country} =",
        "answer": "{capital}",
        "shots": 1,
        "shot": "{country} = {capital}",
    }
    data = tmp_path / "shown.jsonl"
    data.write_text('{"country": "Chad", "capital": "N’Djamena"}\n', encoding="utf-8")
    for examples in ([{"country": "Chad", "capital": "N’Djamena"}], "shown.jsonl"):
        path = write(tmp_path, templates=[template], examples=examples)
        assert rendered(path)[0] == (
            "Name the capital.\n\nChad = N’Djamena\n\nFrance =",
            "Paris",
        )


def test_a_row_that_is_an_example_as_well_is_left_out_aloud(tmp_path: Path) -> None:
    path = write(tmp_path, templates=[{**FORTH, "shots": 1}], examples=CAPITALS[1:2])
    conversations, [finding], _ = parts(path)
    assert len(conversations) == 4
    assert (finding.kind, finding.left_out, finding.grade) == ("duplicate", True, "warning")


def test_reasoning_stands_apart_from_the_answer(tmp_path: Path) -> None:
    template = {"prompt": "{q}", "reasoning": "It is {a}.", "answer": "{a}", "system": "Think."}
    path = write(tmp_path, templates=[template], rows=[{"q": "2+2", "a": 4}])
    [conversation] = parts(path)[0]
    assert conversation.messages == (
        Message("system", "Think."),
        Message("user", "2+2"),
        Message("assistant", "4", reasoning="It is 4."),
    )


def test_lists_become_lines_and_braces_stay(tmp_path: Path) -> None:
    template = {"prompt": '{{"q": "{q}"}}\n{options}', "answer": "{a.b}"}
    rows = [{"q": "{x}", "options": ["yes", "no", 3], "a.b": True}]
    path = write(tmp_path, templates=[template], rows=rows)
    assert rendered(path) == [('{"q": "{x}"}\n- yes\n- no\n- 3', "true")]


def test_system_and_group_come_from_where_they_are_named(tmp_path: Path) -> None:
    rows = [{**row, "continent": "Europe" if n < 4 else None} for n, row in enumerate(CAPITALS)]
    path = write(tmp_path, rows=rows)
    conversations, findings, _ = parts(path, group="continent", system="Be brief.")
    assert [c.group for c in conversations] == ["Europe"] * 4 + [""]
    assert all(c.messages[0] == Message("system", "Be brief.") for c in conversations)
    assert findings == []
    [unused] = parts(path)[1]
    assert (unused.kind, unused.grade) == ("ignored-keys", "note")
    assert "`continent`" in unused.message


@pytest.mark.parametrize(
    ("row", "kind", "words"),
    [
        ({"country": "Peru"}, "malformed", "`capital` is missing"),
        ({"country": "Peru", "capital": None}, "malformed", "`capital` is empty (null)"),
        ({"country": "Peru", "capital": {"a": 1}}, "malformed", "`capital` is neither text"),
        ({"country": "Peru", "capital": [["a"]]}, "malformed", "`capital` is neither text"),
        ("Peru", "malformed", "not an object"),
        ({"country": "Peru", "capital": "Li\0ma"}, "nul", "NUL"),
        ({"country": "Peru", "capital": "\ud800"}, "encoding", "half a character"),
        ({"country": "Peru", "capital": " "}, "no-answer", "the answer of template 1 is empty"),
    ],
)
def test_a_row_that_cannot_be_rendered_is_named_and_left_out(
    tmp_path: Path, row: Any, kind: str, words: str
) -> None:
    path = write(tmp_path, rows=[*CAPITALS[:2], row, CAPITALS[2]])
    conversations, [finding], _ = parts(path)
    assert len(conversations) == 3
    assert (finding.kind, finding.left_out) == (kind, True)
    assert finding.grade == ("warning" if kind == "no-answer" else "error")
    assert words in finding.message
    lines = path.read_text().splitlines()
    assert ("Peru" if isinstance(row, str) else "{") in lines[finding.line - 1]
    assert conversations[1].line < finding.line < conversations[2].line


TWO_SHOTS = {**FORTH, "shots": 2}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"templates": [{**FORTH, "promt": "x"}]}, "line 4: template 1: there is no setting"),
        ({"templates": [FORTH, {"prompt": "x"}]}, "line 8: template 2: `answer` is missing"),
        ({"templates": [{**FORTH, "prompt": "{country"}]}, "`prompt`: .* written twice"),
        ({"templates": [{**FORTH, "prompt": "{}"}]}, "`prompt`: `{}` names no field"),
        ({"templates": [{**FORTH, "prompt": '{"a": 1}'}]}, "names no field"),
        ({"templates": []}, "`templates`: List should have at least 1 item"),
        ({"templates": [TWO_SHOTS]}, "shows 2 examples, and `examples` gives none"),
        ({"templates": [TWO_SHOTS], "examples": 1}, "`examples` gives 1"),
        ({"templates": [TWO_SHOTS], "examples": 3.5}, "`examples`: it has to be a list"),
        ({"examples": 2}, "`examples` has no use"),
        ({"templates": [{**FORTH, "turns": True}]}, "not how many"),
        ({"templates": [{**FORTH, "answer": "{shots}"}]}, "only `prompt` can say"),
        ({"rows": {"a": 1}}, "`rows`: it has to be a list"),
        ({"rows": "nowhere.csv"}, "names nowhere.csv, and there is no file"),
        ({"templates": [TWO_SHOTS], "examples": 5, "rows": CAPITALS[:1]}, "only 1 of its rows"),
        ({"templates": [TWO_SHOTS], "examples": [CAPITALS[0], {}]}, "only 1 of its rows"),
        ({"extra": 1}, "there is no setting `extra`"),
        ({"task": ""}, "`task`"),
        ({"task": "a\0"}, "NUL"),
    ],
)
def test_a_task_file_with_a_mistake_is_refused_by_line_and_field(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        parts(write(tmp_path, **values))


def test_json_that_says_a_thing_twice_or_is_broken_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    for text, words in (
        ('{"task": "a", "task": "b"}', "the key `task` stands twice"),
        ('{"rows": [{"a": 1, "a": 2}]}', "the key `a` stands twice"),
        ('{"task": "a",\n "rows": }', "line 2, column 10: broken JSON"),
        ("[" * 100_000, "cannot be read"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(RequestError, match=words):
            parts(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task: [", "broken YAML"),
        ("task: a\ntask: b\n", "line 2: the key `task` stands twice"),
        ("rows:\n - {a: 1,\n    a: 2}\n", "line 3: the key `a` stands twice"),
        ("", "has to hold `task`"),
        ("- a\n- b\n", "has to hold `task`"),
        ("a: &x [*x]\n", "YAML"),
        ("task: a\n---\ntask: b\n", "broken YAML"),
        ("? [a]\n: b\n", "YAML"),
        ("task: t\n", "`templates` is missing"),
        ("\x00", "YAML"),
        ("[" * 5000, "YAML"),
    ],
)
def test_yaml_that_is_no_task_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "task.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=words):
        parts(file)


@given(st.binary(max_size=200) | st.text(alphabet="{}[]:-,'\"&*!|> \ntaskrow", max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_do_more_than_be_refused(tmp_path: Path, content: bytes | str) -> None:
    for name in ("task.yaml", "task.json"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        is_task_file(file)
        with pytest.raises(RequestError):
            parts(file)


def test_settings_for_other_data_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    for source in ({"columns": {"a": "b"}}, {"format": "alpaca"}):
        with pytest.raises(RequestError, match="do not go with it"):
            parts(path, **source)


def test_task_files_are_told_from_other_json(tmp_path: Path) -> None:
    assert is_task_file(write(tmp_path))
    big = [{"country": "x" * 100, "capital": "y" * 100} for _ in range(1000)]
    assert is_task_file(write(tmp_path, rows=big))
    for text in (
        json.dumps(CAPITALS),
        "".join(json.dumps({"templates": [], "rows": n}) + "\n" for n in range(2)),
        '{"templates": 1',
        '{"data": [{"templates": 1, "rows": 2}]}',
        "",
    ):
        other = tmp_path / "other.json"
        other.write_text(text, encoding="utf-8")
        assert not is_task_file(other)
    assert not is_task_file(tmp_path / "nowhere.yaml")
    for text, sure in (("task: a\n", False), ("task: a\ntemplates:\n - {}\n", True)):
        file = tmp_path / "some.yaml"
        file.write_text(text, encoding="utf-8")
        assert is_task_file(file)
        assert is_task_file(file, sure=True) is sure
    assert not is_task_file(tmp_path)


def test_a_split_by_row_keeps_equal_rows_together(tmp_path: Path) -> None:
    path = write(tmp_path, templates=[FORTH, BACK], rows=CAPITALS * 3)
    conversations = parts(path)[0]
    assert len({content_digest(c) for c in conversations}) == len(CAPITALS)


def test_a_folder_gives_its_task_files_and_no_rows_twice(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    table = folder / "rows.csv"
    table.write_text("country,capital\nFrance,Paris\n", encoding="utf-8")
    first, second = write(folder, "a.json", rows="rows.csv"), write(folder, "b.json")
    (folder / "README.md").write_text("About the tasks.", encoding="utf-8")
    (folder / "settings.yaml").write_text("model: nano\n", encoding="utf-8")
    found = find(SourceConfig(path=str(folder)))
    assert list(found.files) == [first, second]
    assert "README.md, settings.yaml: no rows" in found.findings[0].message
    assert len(load([folder]).conversations) == 6
    (folder / "more.jsonl").write_text('{"prompt": "p", "completion": "c"}\n', encoding="utf-8")
    assert len(load([folder]).conversations) == 7
