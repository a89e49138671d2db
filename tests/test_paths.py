"""Files arrive whole or not at all."""

from pathlib import Path

import pytest

from edgetune import paths


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    paths.write_text(file, "old")
    with pytest.raises(RuntimeError), paths.atomic_file(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_directory_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with paths.atomic_directory(folder) as temporary:
        (temporary / "x").write_text("old")
    with pytest.raises(RuntimeError), paths.atomic_directory(folder) as temporary:
        (temporary / "x").write_text("half")
        raise RuntimeError
    assert (folder / "x").read_text() == "old"
    with paths.atomic_directory(folder) as temporary:
        (temporary / "y").write_text("new")
    assert [file.name for file in folder.iterdir()] == ["y"]
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.gguf.0123abcd.tmp").write_text("half")
    (tmp_path / ".step-000001.0123abcd.tmp").mkdir()
    (tmp_path / ".step-000001.0123abcd.tmp" / "x").write_text("half")
    (tmp_path / "keep.tmp").write_text("mine")
    paths.remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["keep.tmp"]


def test_a_replacement_that_is_interrupted_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "adapter"
    with paths.atomic_directory(place) as folder:
        (folder / "file").write_text("old")
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if target == place and (self / "file").read_text() == "new":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt), paths.atomic_directory(place) as folder:
        (folder / "file").write_text("new")
    assert (place / "file").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["adapter"]


def test_an_existing_folder_is_kept_where_none_may_be_replaced(tmp_path: Path) -> None:
    place = tmp_path / "run"
    with paths.atomic_directory(place, replace=False) as folder:
        (folder / "file").write_text("first")
    with pytest.raises(OSError), paths.atomic_directory(place, replace=False) as folder:
        (folder / "file").write_text("second")
    assert (place / "file").read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
