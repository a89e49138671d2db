"""What the UI remembers between starts: its theme and the files used last."""

import contextlib
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from edgetune import paths

_MOST_RECENT = 20


class Preferences(BaseModel):
    """Kept as JSON in the user's data directory."""

    theme: str = "textual-dark"
    data: list[str] = Field(default_factory=list)
    """Data files used, newest first."""
    system_prompt: str = ""

    def used_data(self, file: str) -> None:
        """Note that a data file was used."""
        self.data = [file, *(known for known in self.data if known != file)][:_MOST_RECENT]

    def save(self) -> None:
        """Write them; a home that cannot be written costs only the memory of them."""
        with contextlib.suppress(OSError):
            paths.write_text(_file(), self.model_dump_json(indent=1))


def load() -> Preferences:
    """The kept preferences, or the defaults where there are none or they cannot be read."""
    try:
        return Preferences.model_validate_json(_file().read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return Preferences()


def _file() -> Path:
    return paths.home() / "tui.json"
