"""What is kept is never stale, never half, and never too much."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgetune import paths
from edgetune.config import DataConfig
from edgetune.data.dataset import Dataset, prepare
from edgetune.data.templates.builtin import choose_template
from edgetune.data.tokenizer import Tokenizer
from edgetune.data.tokens import cache, tokenized
from edgetune.errors import EdgetuneError


def folder() -> Path:
    return paths.home() / "cache" / "tokens"


def entries() -> set[str]:
    return {entry.name for entry in folder().iterdir()} if folder().exists() else set()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders into which rows were tokenized, as it happens."""
    folders: list[Path] = []
    real = tokenized._write

    def write(folder: Path, *rest: Any) -> None:
        folders.append(folder)
        real(folder, *rest)

    monkeypatch.setattr(tokenized, "_write", write)
    return folders


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [{"instruction": f"Say {n}.", "output": f"It is {n}.", "other": "x"} for n in range(30)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def make(tokenizer: Tokenizer, file: Path, **settings: Any) -> Dataset:
    config = DataConfig.model_validate({"train": [str(file)], **settings})
    return prepare(config, 0, tokenizer, choose_template(tokenizer, config))


def contents(dataset: Dataset) -> list[tuple[list[int], list[float], str, int]]:
    return [
        (e.ids.tolist(), e.weights.tolist(), e.file, e.line)
        for part in (dataset.train, dataset.valid)
        for e in part.examples()
    ]


def test_a_second_run_reads_what_the_first_one_kept(
    spm: Tokenizer, file: Path, built: list[Path]
) -> None:
    first = make(spm, file)
    second = make(spm, file)
    assert len(built) == 1
    assert contents(first) == contents(second)
    assert first.summary == second.summary


def test_length_split_and_mixture_use_what_is_kept(
    spm: Tokenizer, file: Path, built: list[Path]
) -> None:
    make(spm, file)
    make(spm, file, max_length=40, valid_fraction=0.3)
    make(spm, file, train=[{"path": str(file), "weight": 2}])
    make(spm, file, strict=True, bad_rows="leave_out", overlong="cut")
    assert len(built) == 1


def test_a_changed_byte_is_seen_although_size_and_time_are_the_same(
    spm: Tokenizer, file: Path, built: list[Path]
) -> None:
    before = contents(make(spm, file))
    status = file.stat()
    file.write_bytes(file.read_bytes().replace(b"It is 7.", b"It is 8."))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_size == status.st_size
    assert file.stat().st_mtime_ns == status.st_mtime_ns
    after = contents(make(spm, file))
    assert len(built) == 2
    assert before != after


def test_another_template_mask_or_reading_is_another_entry(
    spm: Tokenizer, file: Path, built: list[Path]
) -> None:
    kinds: list[dict[str, Any]] = [
        {},
        {"template": "chatml"},
        {"train_on": "everything"},
        {"train": [{"path": str(file), "columns": {"output": "other"}}]},
        {"train": [{"path": str(file), "system": "Be brief."}]},
        {"train": [{"path": str(file), "task": "say"}]},
    ]
    seen = [make(spm, file, **kind) for kind in kinds]
    assert len(built) == len(kinds)
    tokens = {json.dumps(contents(dataset)) for dataset in seen[:5]}
    assert len(tokens) == 5
    again = [make(spm, file, **kind) for kind in kinds]
    assert len(built) == len(kinds)
    assert [contents(d) for d in again] == [contents(d) for d in seen]


def test_a_changed_tokenizer_is_another_entry(
    tiny_model: Path, tmp_path: Path, file: Path, built: list[Path]
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model / name).write_bytes((tiny_model / name).read_bytes())
    make(Tokenizer.from_directory(model), file)
    description = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    description["model"]["merges"] = description["model"]["merges"][:-5]
    (model / "tokenizer.json").write_text(json.dumps(description), encoding="utf-8")
    make(Tokenizer.from_directory(model), file)
    assert len(built) == 2


def test_a_template_that_writes_the_date_is_kept_for_that_date() -> None:
    from datetime import datetime

    morning, evening = datetime(2026, 5, 1, 8), datetime(2026, 5, 1, 20)
    dated = "{{ strftime_now('%d %B %Y') }} {{ strftime_now(\"%A\") }}"
    assert tokenized._dates("no date", morning) == []
    assert tokenized._dates(dated, morning) == ["01 May 2026", "Friday"]
    assert tokenized._dates(dated, morning) == tokenized._dates(dated, evening)
    # What cannot be told from the source counts to the second.
    unclear = "{{ strftime_now(form) }}"
    assert tokenized._dates(unclear, morning) != tokenized._dates(unclear, evening)


def test_a_file_that_changes_while_it_is_read_is_refused(
    spm: Tokenizer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tokenized.hash_file

    def hash_and_change(path: Path) -> str:
        digest = real(path)
        if path == file:
            file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        return digest

    monkeypatch.setattr(tokenized, "hash_file", hash_and_change)
    with pytest.raises(EdgetuneError, match="changed while it was read"):
        make(spm, file)
    assert not entries()


def test_digests_for_a_seed_are_kept_too(
    spm: Tokenizer, file: Path, built: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_seeded() -> Dataset:
        config = DataConfig.model_validate({"train": [str(file)], "valid_fraction": 0.3})
        return prepare(config, 5, spm, choose_template(spm, config))

    first = make_seeded()
    assert len(entries()) == 2
    [damaged] = folder().glob("*/digests.bin")
    with monkeypatch.context() as patch:
        patch.setattr(tokenized.reading, "read", None)  # would have to read the rows again
        assert contents(make_seeded()) == contents(first)
    damaged.write_bytes(b"0" + damaged.read_bytes()[1:])
    assert contents(make_seeded()) == contents(first)
    assert len(built) == 1


@pytest.mark.parametrize("name", ["ids.bin", "meta.json"])
def test_a_damaged_entry_is_made_again(
    spm: Tokenizer, file: Path, built: list[Path], name: str
) -> None:
    before = contents(make(spm, file))
    [entry] = entries()
    damaged = folder() / entry / name
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert contents(make(spm, file)) == before
    assert len(built) == 2
    assert entries() == {entry}


def test_without_the_cache_nothing_is_kept_and_all_is_the_same(
    spm: Tokenizer, file: Path, built: list[Path]
) -> None:
    kept = make(spm, file)
    before = entries()
    free = make(spm, file, cache=False)
    assert len(built) == 2
    assert contents(free) == contents(kept)
    assert entries() == before


def test_a_home_that_cannot_be_written_stops_nothing(
    spm: Tokenizer, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder is wanted", encoding="utf-8")
    monkeypatch.setenv("EDGETUNE_HOME", str(blocked))
    assert len(contents(make(spm, file))) == 30


def test_an_interrupted_writer_leaves_no_entry(
    spm: Tokenizer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tokenized.Writer, "close", stop)
    with pytest.raises(KeyboardInterrupt):
        make(spm, file)
    assert not entries()


def entry_maker(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "it").write_text(text, encoding="utf-8") and None


def read_entry(folder: Path) -> str:
    return (folder / "it").read_text(encoding="utf-8")


def test_the_entry_of_a_faster_process_is_taken() -> None:
    def slow(temporary: Path) -> None:
        # Meanwhile another process makes the same entry.
        cache.obtain("same", entry_maker("fast"), read_entry)
        entry_maker("slow")(temporary)

    assert cache.obtain("same", slow, read_entry) == "fast"
    assert entries() == {"same"}


def test_an_entry_that_is_removed_at_once_is_made_for_this_time_only() -> None:
    def load(entry: Path) -> str:
        if not entry.name.startswith("."):
            for file in entry.iterdir():  # another process makes room
                file.unlink()
        try:
            return read_entry(entry)
        except OSError as error:
            raise EdgetuneError("gone") from error

    assert cache.obtain("entry", entry_maker("x"), load) == "x"


_CHILD = """
import sys, time
from pathlib import Path
from edgetune.data.tokens import cache

def make(folder):
    for number in range(20):
        (folder / str(number)).write_text("x" * 1000)
        time.sleep(0.005)

def load(folder):
    texts = [(folder / str(number)).read_text() for number in range(20)]
    assert all(text == "x" * 1000 for text in texts)
    return len(texts)

assert cache.obtain("entry", make, load) == 20
"""


def test_processes_that_make_the_same_entry_at_once_all_get_it() -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", _CHILD], stderr=subprocess.PIPE) for _ in range(4)
    ]
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors.decode()
    assert entries() == {"entry"}


def test_what_was_not_used_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT", 250)
    for number, name in enumerate(["a", "b", "c"]):
        cache.obtain(name, entry_maker("x" * 100), read_entry)
        if name != "c":
            os.utime(folder() / name, (number, number))
    assert entries() == {"b", "c"}
    cache.obtain("b", entry_maker("never"), read_entry)
    os.utime(folder() / "c", (5, 5))
    cache.obtain("d", entry_maker("x" * 100), read_entry)
    assert entries() == {"b", "d"}
    # One that is larger than the limit is of use all the same.
    assert cache.obtain("large", entry_maker("x" * 999), read_entry) == "x" * 999
    assert entries() == {"large"}


def test_what_a_killed_process_left_is_cleared_and_what_is_being_written_is_not() -> None:
    folder().mkdir(parents=True)
    for name in (".old.tmp", ".new.tmp"):
        (folder() / name).mkdir()
        (folder() / name / "ids.bin").touch()
    old = time.time() - 2 * 24 * 3600
    for path in (folder() / ".old.tmp" / "ids.bin", folder() / ".old.tmp"):
        os.utime(path, (old, old))
    os.utime(folder() / ".new.tmp", (old, old))
    cache.obtain("entry", entry_maker("x"), read_entry)
    assert entries() == {"entry", ".new.tmp"}


def test_a_report_is_made_once_and_again_if_it_is_damaged() -> None:
    made = []

    def make_report() -> dict[str, Any]:
        made.append(1)
        return {"rows": 3, "text": "ä"}

    assert cache.remember("r", make_report) == {"rows": 3, "text": "ä"}
    assert cache.remember("r", make_report) == {"rows": 3, "text": "ä"}
    assert len(made) == 1
    file = paths.home() / "cache" / "reports" / "r.json"
    file.write_text(file.read_text(encoding="utf-8").replace("3", "4"), encoding="utf-8")
    assert cache.remember("r", make_report)["rows"] == 3
    assert len(made) == 2
    assert cache.remember("r", make_report, keep=False)["rows"] == 3
    assert len(made) == 3
