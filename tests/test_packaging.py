"""What is built from the repository holds all of it, under one import name."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"edgetune": "edgetune", "tui": "edgetune/tui", "quantize": "edgetune/quantize"}
"""Folders of the repository, and where they lie once installed."""


def source_files() -> dict[str, Path]:
    """Every file that has to be installed, by its installed name."""
    found = {}
    for folder, place in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*")):
            hidden = any(part.startswith((".", "__pycache__")) for part in file.parts)
            if file.is_file() and not hidden:
                found[f"{place}/{file.relative_to(ROOT / folder).as_posix()}"] = file
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel that was made from it, without the network."""
    work = tmp_path_factory.mktemp("packaging")
    source = work / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(work), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return work


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (file,) = built.glob("*.whl")
    return file


def test_the_wheel_holds_every_module_and_every_asset(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    missing = set(source_files()) - names
    assert not missing
    assert any(name.endswith(".tcss") for name in names)


def test_edgetune_is_the_only_top_level_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edgetune"}


def test_the_sdist_holds_every_file_of_the_three_folders(built: Path) -> None:
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {path.relative_to(ROOT).as_posix() for path in source_files().values()}
    assert not expected - names
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names


def test_the_installed_package_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import edgetune, edgetune.quantize, edgetune.tui, edgetune.cli.main as m; "
        "print(edgetune.__file__); print(edgetune.tui.__file__); "
        "print(edgetune.quantize.__file__); m.run(['--version'])"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    *files, version = done.stdout.splitlines()
    assert all(Path(file).is_relative_to(tmp_path) for file in files)
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        text = archive.read(metadata).decode()
    assert version.removeprefix("edgetune ") in text
    assert "License-Expression: Apache-2.0" in text


def test_the_packages_import_from_any_folder(tmp_path: Path) -> None:
    code = "import edgetune.quantize, edgetune.tui"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_nothing_imports_the_two_folders_by_their_bare_names() -> None:
    for file in source_files().values():
        if file.suffix == ".py":
            for line in file.read_text(encoding="utf-8").splitlines():
                words = line.split()
                bare = len(words) > 1 and words[0] in ("import", "from")
                assert not (bare and words[1].split(".")[0] in ("tui", "quantize")), (file, line)
