"""What the README shows works as it is written there."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from edgetune.cli import main
from edgetune.config import Format, SourceConfig
from edgetune.data.checks import findings
from edgetune.data.formats import to_conversations
from edgetune.data.readers.rows import Row

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULE_FOLDERS = ("edgetune", "tui", "quantize")

# These wait for the user, or fetch, or take minutes: their flags are checked, and each has
# tests of its own.
ONLY_PARSED = {("quickstart",), ("tui",), ("serve",), ("models", "pull")}


def commands(kind: str = "sh") -> list[str]:
    """The lines of the README's shell blocks, in order."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def words_of(line: str) -> tuple[str, ...]:
    """The command's name, with its part: ``("runs", "list")``."""
    words = shlex.split(line)[1:]
    names = words[:2] if words[0] in ("data", "runs", "models") else words[:1]
    return tuple(names)


def test_the_readme_shows_the_two_commands_first() -> None:
    assert commands()[:2] == ["make quickstart", "make test"]


def test_every_line_is_a_make_target_or_an_edgetune_command() -> None:
    assert {line.split()[0] for line in commands()} == {"make", "edgetune"}


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("make")])
def test_every_make_target_exists(line: str) -> None:
    (target,) = line.split()[1:]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_extra_exists_and_is_shown() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shown = set(re.findall(r"pip install '\.\[(\w+)\]'", README))
    assert shown == set(project["optional-dependencies"]) - {"dev"}


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("edgetune")])
def test_the_flags_of_every_command_exist(line: str) -> None:
    command = typer.main.get_command(main.app)
    context = command.make_context("edgetune", [], resilient_parsing=True)
    names = words_of(line)
    for name in names:
        assert isinstance(command, typer.core.TyperGroup)
        found = command.get_command(context, name)
        assert found is not None
        command = found
    command.make_context(names[-1], shlex.split(line)[1 + len(names) :], parent=context)


@pytest.mark.slow
@pytest.mark.usefixtures("nano")
def test_the_commands_run_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "edgetune").symlink_to(ROOT / "edgetune")  # the data the commands name
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": "1",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    for line in commands():
        words = shlex.split(line)
        if words[0] != "edgetune" or words_of(line) in ONLY_PARSED:
            continue
        if words_of(line) == ("train",) and "--resume" not in words:
            words += ["--steps", "2"]
        if words_of(line) == ("eval",):
            words[words.index("--data") + 1] = str(few_rows(tmp_path))
        # -P: the folder `edgetune` here is data, not the program.
        done = subprocess.run(
            [sys.executable, "-P", "-m", *words],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def few_rows(folder: Path) -> Path:
    """The first rows of the embedded held-out set: grading all of them would take a while."""
    file = folder / "few.jsonl"
    rows = ROOT / "edgetune" / "assets" / "instruct" / "instances.jsonl"
    file.write_text("".join(rows.read_text(encoding="utf-8").splitlines(keepends=True)[:8]))
    return file


def table(first_column: str) -> list[list[str]]:
    """The cells of the README's table whose first column has this title, without its head."""
    (block,) = re.findall(
        rf"^\| {first_column} \|.*\n\|[-|]*\|\n((?:\|.*\n)*)", README, re.MULTILINE
    )
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block.splitlines()]


@pytest.mark.parametrize(("name", "shown"), table("format"))
def test_every_format_is_recognized_by_its_example(name: str, shown: str) -> None:
    value = json.loads(re.findall(r"`(\{.*?\})`", shown)[0])
    found, conversations, said = to_conversations(Row(value, "f", 1), SourceConfig(path="f"))
    assert (found, said) == (name, [])
    assert [len(conversations), conversations[0].file] == [1, "f"]


def test_every_format_has_a_line() -> None:
    assert {name for name, _ in table("format")} == set(typing.get_args(Format)) - {"auto"}


def test_every_kind_of_finding_has_a_line_and_its_grade() -> None:
    shown = {kind: cells[1] for cells in table("kind") for kind in re.findall(r"`(.*?)`", cells[0])}
    assert set(shown) == set(findings.KINDS)
    source = "".join(file.read_text("utf-8") for file in (ROOT / "edgetune/data").rglob("*.py"))
    said = re.findall(r'(?:Finding|Remark)\(\s*"(error|warning|note)",\s*"([a-z-]+)"', source)
    for grade, kind in said:
        assert kind in shown, f"{kind} ({grade}) is not in the README"
    assert len(said) > 20
    for grade, kind in said:
        if kind != "wrapped":  # a note mostly, a warning where something stands behind the list
            assert shown[kind] == grade, kind


def tree() -> Iterator[Path]:
    """The paths that the README's tree shows."""
    (block,) = re.findall(r"^```text\n(edgetune/.*?)^```", README, re.MULTILINE | re.DOTALL)
    folder = Path()
    for line in block.splitlines():
        name = line.split()[0]
        if line.startswith("   "):
            continue  # the line before goes on
        if not line.startswith(" "):
            folder = Path(name)
            yield folder
        else:
            yield folder / name


def test_the_tree_shows_what_there_is() -> None:
    shown = list(tree())
    assert not [str(path) for path in shown if not (ROOT / path).exists()]
    # A folder's line speaks for what is in it, unless its files have lines of their own.
    opened = {path.parent for path in shown}
    speaking = [path for path in shown if path not in opened]
    for folder in MODULE_FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            path = file.relative_to(ROOT)
            if not path.name.startswith("__"):
                assert any(path.is_relative_to(other) for other in speaking), path
