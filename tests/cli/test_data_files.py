"""`edgetune data split`, `convert` and `mix` write whole files, the same ones every time."""

import errno
import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard

from edgetune.cli import main
from edgetune.data import write as data_write
from edgetune.data.mixture import epoch_order

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "tasks"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, rows: list[Any]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def alpaca(number: int, **more: Any) -> dict[str, Any]:
    return {"instruction": f"Say {number}.", "output": f"It is {number}.", **more}


def read(file: str | Path) -> list[dict[str, Any]]:
    # Not splitlines, which also cuts at characters within a text.
    return [json.loads(line) for line in Path(file).read_bytes().splitlines()]


def asked(file: str | Path) -> list[str]:
    """The first user message of every row."""
    return [row["messages"][0]["content"] for row in read(file)]


def summary(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """What a command that succeeds prints with --json."""
    capsys.readouterr()
    status = main.run(["data", *map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    assert status == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a command that is refused says."""
    capsys.readouterr()
    assert main.run(["data", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert not out
    return err


KINDS: list[dict[str, Any]] = [
    alpaca(1, input="x", system="Be brief.", task="t"),
    {"messages": [{"role": "user", "content": "ü\u2028"}, {"role": "assistant", "content": "é"}]},
    {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "1", "function": {"name": "get", "arguments": '{"city": "Oslo"}'}}
                ],
            },
            {"role": "tool", "content": "cold", "tool_call_id": "1"},
            {"role": "assistant", "content": "<think>\ncold\n</think>\n\nCold.", "weight": 0.5},
        ],
        "tools": [{"name": "get", "description": "d", "parameters": {"type": "object"}}],
    },
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    {"prompt": "p", "completion": "c", "label": False},
    {"prompt": "p", "chosen": "good", "rejected": "bad"},
    {"text": "Running text."},
]


def test_converting_what_was_converted_gives_the_same_bytes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = write("rows.jsonl", KINDS)
    first = summary(capsys, "convert", rows, "--out", "first.jsonl")
    second = summary(capsys, "convert", "first.jsonl", "--out", "second.jsonl")
    assert Path("first.jsonl").read_bytes() == Path("second.jsonl").read_bytes()
    assert first["written"] == [{"file": "first.jsonl", "rows": len(KINDS)}]
    assert second["left_out"] == {}
    written = read("first.jsonl")
    assert [set(row) & {"messages", "text"} for row in written] == [{"messages"}] * 6 + [{"text"}]
    assert written[0]["task"] == "t"
    assert written[2]["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"city": "Oslo"}
    assert written[2]["messages"][3]["weight"] == 0.5
    assert written[4]["label"] is False
    assert written[5]["rejected"]


def test_files_are_compressed_as_their_name_says(capsys: pytest.CaptureFixture[str]) -> None:
    rows = write("rows.jsonl", KINDS)
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "again.jsonl.gz"):
        summary(capsys, "convert", rows, "--out", name)
    plain = Path("a.jsonl").read_bytes()
    packed = Path("a.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == plain
    assert packed == Path("again.jsonl.gz").read_bytes()
    assert packed[4:8] == bytes(4)  # no time inside
    with zstandard.open("a.jsonl.zst") as file:
        assert file.read() == plain
    for name in ("a.jsonl.gz", "a.jsonl.zst"):
        summary(capsys, "convert", name, "--out", "back.jsonl", "--force")
        assert Path("back.jsonl").read_bytes() == plain


def test_rows_go_to_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    rows = write("rows.jsonl", [alpaca(n) for n in range(3)])
    main.run(["data", "convert", rows, "--out", "a.jsonl"])
    capsys.readouterr()
    assert main.run(["data", "convert", rows, "--out", "-"]) == 0
    out, err = capsys.readouterr()
    assert out == Path("a.jsonl").read_text(encoding="utf-8")
    assert "3 rows" in err
    assert "no place" in refused(capsys, "convert", rows, "--out", "-", "--json")


def test_rows_come_from_standard_input() -> None:
    data = "".join(json.dumps(alpaca(n)) + "\n" for n in range(4)).encode()
    command = [sys.executable, "-m", "edgetune", "data", "convert", "-", "--out", "-"]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["messages"][0]["content"] for row in rows] == [f"Say {n}." for n in range(4)]
    done = subprocess.run(command, input=b'{"a": 1}\n', capture_output=True)
    assert b"standard input, line 1: its format is not known" in done.stderr


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.tsv.gz"])
def test_rows_are_not_written_under_a_name_of_another_kind(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = write("rows.jsonl", [alpaca(1)])
    for command in ("convert", "mix"):
        assert "Name it x.jsonl" in refused(capsys, command, file, "--out", name)
    assert not Path(name).exists()


def test_bad_rows_are_refused_by_line_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [alpaca(1), {"nothing": 1}, alpaca(3, output=" "), alpaca(4)]
    file = write("rows.jsonl", rows)
    for arguments in (
        ("convert", file, "--out", "new/a.jsonl"),
        ("convert", file, "--out", "-"),
        ("split", file, "--out", "new"),
        ("mix", file, "--out", "new/a.jsonl"),
    ):
        said = refused(capsys, *arguments)
        assert "Nothing was written. rows.jsonl, line 2: " in said
        assert "--skip-bad" in said
    assert [path.name for path in Path().iterdir()] == ["rows.jsonl"]
    done = summary(capsys, "convert", file, "--out", "new/a.jsonl", "--skip-bad")
    assert asked("new/a.jsonl") == ["Say 1.", "Say 4."]
    assert sum(done["left_out"].values()) == 2
    assert done["left_out"]["format"] == 1
    assert [(f["line"], f["grade"]) for f in done["findings"] if f["left_out"]] == [
        (2, "error"),
        (3, "warning"),
    ]
    assert done["counts"]["error"] == 1


def test_rows_that_are_left_out_are_said_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    file = write("rows.jsonl", [alpaca(1), alpaca(2, output=" ")])
    assert main.run(["data", "convert", file, "--out", "a.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "a.jsonl: 1 row"
    assert "left out: 1 " in out
    assert "rows.jsonl, line 2" in err


def test_data_of_which_nothing_is_left_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    file = write("rows.jsonl", [alpaca(1, output="")])
    assert "no usable row" in refused(capsys, "convert", file, "--out", "a.jsonl")
    file = write("bad.jsonl", [{"nothing": 1}])
    assert "no usable row" in refused(capsys, "convert", file, "--out", "a.jsonl", "--skip-bad")


def test_what_is_there_is_only_replaced_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    file = write("rows.jsonl", [alpaca(1)])
    Path("s").mkdir()
    for name in ("a.jsonl", "s/valid.jsonl"):
        Path(name).write_text("precious", encoding="utf-8")
    for arguments in (
        ("convert", file, "--out", "a.jsonl"),
        ("mix", file, "--out", "a.jsonl"),
        ("split", file, "--out", "s"),
    ):
        assert "is there already. Add --force" in refused(capsys, *arguments)
    assert Path("a.jsonl").read_text(encoding="utf-8") == "precious"
    assert not Path("s/train.jsonl").exists()
    summary(capsys, "convert", file, "--out", "a.jsonl", "--force")
    assert asked("a.jsonl") == ["Say 1."]
    for data, out in ((file, file), (".", "rows.jsonl"), ("./rows.jsonl", file)):
        for command in ("convert", "mix"):
            said = refused(capsys, command, data, "--out", out, "--force")
            assert "is one of the files that are read" in said
    assert asked("a.jsonl") == ["Say 1."]
    assert "is a folder" in refused(capsys, "convert", file, "--out", "s", "--force")


def test_a_full_disk_leaves_what_was_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write("rows.jsonl", [alpaca(n) for n in range(40)])
    Path("s").mkdir()
    for name in ("s/train.jsonl", "s/valid.jsonl"):
        Path(name).write_text("before", encoding="utf-8")
    before = sorted(Path().rglob("*"))
    whole, calls = data_write.write_to, []

    def full_at_last(*arguments: Any) -> int:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(*arguments)

    monkeypatch.setattr(data_write, "write_to", full_at_last)
    assert main.run(["data", "split", file, "--out", "s", "--force"]) == 1
    assert "disk is full" in capsys.readouterr().err
    assert sorted(Path().rglob("*")) == before
    for name in ("s/train.jsonl", "s/valid.jsonl"):
        assert Path(name).read_text(encoding="utf-8") == "before"


def test_columns_system_task_and_format_are_as_the_flags_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write("rows.jsonl", [{"frage": "Wer?", "antwort": "Ich.", "kind": "x"}])
    summary(
        capsys,
        *("convert", file, "--out", "a.jsonl", "--format", "question", "--system", "Kurz."),
        *("--column", "question=frage", "--column", "answer=antwort", "--task", "wer"),
        *("--group", "kind"),
    )
    [row] = read("a.jsonl")
    assert [message["content"] for message in row["messages"]] == ["Kurz.", "Wer?", "Ich."]
    assert row["group"] == "x"
    assert "KEY=NAME" in refused(capsys, "convert", file, "--out", "b.jsonl", "--column", "x")
    said = refused(capsys, "convert", file, "--out", "b.jsonl", "--format", "xml")
    assert "format" in said and "alpaca" in said


def test_a_split_holds_out_rows_and_stays_when_rows_are_added(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [alpaca(n % 350) for n in range(400)]
    file = write("rows.jsonl", rows)
    done = summary(capsys, "split", file, "--valid-fraction", "0.1", "--seed", "7", "--out", "s")
    train, valid = asked("s/train.jsonl"), asked("s/valid.jsonl")
    assert Counter(train + valid) == Counter(row["instruction"] for row in rows)
    assert not set(train) & set(valid)
    assert 15 < len(set(valid)) < 60
    assert [written["rows"] for written in done["written"]] == [len(train), len(valid)]
    more = write("more.jsonl", rows + [alpaca(n) for n in range(1000, 1200)])
    summary(capsys, "split", more, "--valid-fraction", "0.1", "--seed", "7", "--out", "more")
    assert asked("more/train.jsonl")[: len(train)] == train
    assert asked("more/valid.jsonl")[: len(valid)] == valid
    summary(capsys, "split", file, "--valid-fraction", "0.1", "--seed", "8", "--out", "other")
    assert asked("other/valid.jsonl") != valid


def test_a_split_holds_out_what_a_run_would(capsys: pytest.CaptureFixture[str]) -> None:
    from edgetune.data.conversation import content_digest
    from edgetune.data.reading import load
    from edgetune.data.split import by_row, stack

    file = write("rows.jsonl", [alpaca(n) for n in range(200)])
    summary(capsys, "split", file, "--seed", "3", "--out", "s")
    digests = stack(content_digest(c, 3) for c in load([file]).conversations)
    held = by_row(digests, 0.05)
    assert asked("s/valid.jsonl") == [f"Say {n}." for n in range(200) if held[n]]


def test_a_split_by_task_holds_out_whole_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [alpaca(n, task=f"task {n % 5}") for n in range(50)]
    rows[7] = {**rows[6], "task": "task 2"}  # the same content in two tasks
    file = write("rows.jsonl", rows)
    done = summary(capsys, "split", file, "--by", "task", "--out", "chance")
    assert len(done["valid_tasks"]) == 1
    assert {row["task"] for row in read("chance/valid.jsonl")} == set(done["valid_tasks"])
    assert len(read("chance/valid.jsonl")) + len(read("chance/train.jsonl")) == 50
    named = summary(
        capsys,
        *("split", file, "--valid-task", "task 2", "--valid-task", "task 3", "--out", "named"),
    )
    assert named["valid_tasks"] == ["task 2", "task 3"]
    [leak] = [finding for finding in named["findings"] if finding["kind"] == "leak"]
    assert (leak["line"], leak["related"]) == (8, "rows.jsonl, line 7")
    said = refused(capsys, "split", file, "--valid-task", "task 9", "--out", "no")
    assert "`task 9`" in said and "`task 0`" in said


def test_a_split_by_group_keeps_groups_whole(capsys: pytest.CaptureFixture[str]) -> None:
    file = write("rows.jsonl", [alpaca(n, book=n // 4) for n in range(80)])
    done = summary(
        capsys, "split", file, "--group", "book", "--valid-fraction", "0.3", "--out", "s"
    )
    assert done["by"] == "group"
    train, valid = (
        {row["group"] for row in read(f"s/{name}.jsonl")} for name in ("train", "valid")
    )
    assert train and valid and not train & valid
    said = refused(capsys, "split", file, "--group", "chapter", "--out", "t")
    assert "none of them has one" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--by", "group"), "Add --group KEY"),
        (("--group", "g", "--by", "row"), "`--group` only goes with"),
        (("--group", "g", "--valid-task", "t"), "`--group` only goes with"),
        (("--by", "row", "--valid-task", "t"), "`--valid-task` only goes with"),
        (("--valid-task", "t", "--valid-fraction", "0.1"), "by name or by fraction"),
        (("--valid-fraction", "1"), "between 0 and 1"),
        (("--valid-fraction", "0"), "between 0 and 1"),
        (("--by", "task"), "none of them names its task"),
    ],
)
def test_flags_of_a_split_that_differ_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    file = write("rows.jsonl", [alpaca(n) for n in range(5)])
    assert words in refused(capsys, "split", file, "--out", "s", *arguments)
    assert not Path("s").exists()


def test_a_mix_is_what_an_epoch_of_training_visits(capsys: pytest.CaptureFixture[str]) -> None:
    a = write("a.jsonl", [alpaca(n) for n in range(30)])
    b = write("b.jsonl", [alpaca(n) for n in range(30, 50)])
    summary(capsys, "mix", a, b, "--seed", "3", "--epoch", "2", "--out", "m.jsonl")
    assert asked("m.jsonl") == [f"Say {n}." for n in epoch_order(50, 3, 2)]


def test_weights_of_a_mix_count_rows_of_each_source(capsys: pytest.CaptureFixture[str]) -> None:
    a = write("a.jsonl", [alpaca(n) for n in range(30)])
    b = write("b=1.jsonl", [alpaca(n) for n in range(30, 50)])
    done = summary(capsys, "mix", f"{a}=2", f"{b}=0.5", "--out", "m0.jsonl")
    counts = Counter(asked("m0.jsonl"))
    assert [counts[f"Say {n}."] for n in range(30)] == [2] * 30
    assert sum(counts[f"Say {n}."] for n in range(30, 50)) == 10
    assert done["shares"]["source"] == pytest.approx({a: 60 / 70, b: 10 / 70})
    summary(capsys, "mix", f"{a}=2", f"{b}=0.5", "--epoch", "1", "--out", "m1.jsonl")
    both = Counter(asked("m0.jsonl") + asked("m1.jsonl"))
    assert {both[f"Say {n}."] for n in range(30, 50)} == {1}
    exact = summary(capsys, "mix", f"{a}=2", b, "--rows", "17", "--out", "m2.jsonl")
    assert exact["written"][0]["rows"] == len(read("m2.jsonl")) == 17
    assert "above 0" in refused(capsys, "mix", f"{a}=0", "--out", "m3.jsonl")


def test_methods_of_a_mix_balance_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [alpaca(n, task="big" if n < 90 else "small") for n in range(100)]
    file = write("rows.jsonl", rows)

    def shares(*arguments: str) -> dict[str, float]:
        done = summary(capsys, "mix", file, "--out", "m.jsonl", "--force", *arguments)
        found = Counter(row["task"] for row in read("m.jsonl"))
        total = found.total()
        expected = {task: found[task] / total for task in ("big", "small")}
        assert done["shares"]["task"] == pytest.approx(expected)
        said: dict[str, float] = done["shares"]["task"]
        return said

    assert shares() == pytest.approx({"big": 0.9, "small": 0.1})
    assert shares("--method", "equal") == pytest.approx({"big": 0.5, "small": 0.5})
    assert shares("--method", "proportional", "--cap", "30")["small"] == pytest.approx(0.25)
    assert shares("--method", "temperature", "--temperature", "2")["small"] == pytest.approx(0.25)
    assert shares("--weight", "small=0") == {"big": 1.0, "small": 0.0}
    for arguments, words in (
        (("--cap", "5"), "no method that would use it"),
        (("--temperature", "3"), "only goes with"),
        (("--weight", "none=2"), "not there"),
        (("--weight", "big"), "NAME=FACTOR"),
        (("--weight", "big=-1"), "NAME=FACTOR"),
    ):
        assert words in refused(capsys, "mix", file, "--out", "x.jsonl", *arguments)


def test_the_task_files_among_the_examples_are_rendered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = sorted(EXAMPLES.glob("*.yaml"))
    done = summary(capsys, "convert", *files, "--out", "a.jsonl")
    rows = read("a.jsonl")
    assert Counter(row["task"] for row in rows) == {"colour": 20, "opposite": 15}
    assert done["counts"]["error"] == done["counts"]["warning"] == 0
    assert not [row for row in rows if "{" in json.dumps(row["messages"][-1]["content"])]
    held = summary(capsys, "split", *files, "--valid-task", "opposite", "--out", "s")
    assert [written["rows"] for written in held["written"]] == [20, 15]
    equal = summary(capsys, "mix", *files, "--method", "equal", "--out", "m.jsonl")
    assert equal["shares"]["task"] == pytest.approx({"colour": 0.5, "opposite": 0.5}, abs=0.02)


def test_real_files_come_back_as_the_same_bytes(
    capsys: pytest.CaptureFixture[str], shared_data: Path
) -> None:
    for name in (
        "llama_factory/alpaca_en_demo.json",
        "llama_factory/glaive_toolcall_en_demo.json",
        "llama_factory/dpo_en_demo.json",
        "llama_factory/kto_en_demo.json",
        "self_instruct/seed_tasks.jsonl",
    ):
        file = shared_data / "instruct" / name
        first = summary(capsys, "convert", file, "--out", "1.jsonl", "--force", "--skip-bad")
        summary(capsys, "convert", "1.jsonl", "--out", "2.jsonl", "--force")
        assert Path("1.jsonl").read_bytes() == Path("2.jsonl").read_bytes(), name
        assert first["conversations"] > 0.9 * first["rows"]
