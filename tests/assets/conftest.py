"""Loads the recipe of the embedded model, which is no package, for the tests of what it made."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "examples" / "nano"
MODULES = (
    "world",
    "facts",
    "speech",
    "sentences",
    "corpus",
    "phrasings",
    "instructions",
    "tokenizer",
)


def _load() -> dict[str, ModuleType]:
    """Import the recipe's modules by their own names, then forget the names again."""
    before = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    sys.path.insert(0, str(RECIPE))
    try:
        return {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(RECIPE))
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(before)


@pytest.fixture(scope="session")
def recipe() -> Iterator[SimpleNamespace]:
    """The modules of ``examples/nano``, as attributes."""
    pytest.importorskip("sentencepiece")
    pytest.importorskip("tokenizers")
    yield SimpleNamespace(**_load())


@pytest.fixture(scope="session")
def nano_dir() -> Path:
    """The folder of the embedded model."""
    return ROOT / "edgetune" / "assets" / "nano"


@pytest.fixture(scope="session")
def instruct_dir() -> Path:
    """The folder of the instruction dataset."""
    return ROOT / "edgetune" / "assets" / "instruct"
