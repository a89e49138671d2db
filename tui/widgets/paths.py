"""Completion for inputs that take a path."""

import asyncio
import os
from pathlib import Path

from textual.suggester import Suggester


class PathSuggester(Suggester):
    """Suggests the first entry of the folder that goes on from what is typed."""

    def __init__(self, endings: tuple[str, ...] = ()) -> None:
        """With ``endings`` only folders and files that end so are suggested."""
        super().__init__(use_cache=False, case_sensitive=True)
        self._endings = endings

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(self._complete, value) if value else None

    def _complete(self, value: str) -> str | None:
        folder, _, beginning = value.rpartition("/")
        start = Path(folder + "/" if "/" in value else ".").expanduser()
        try:
            with os.scandir(start) as entries:
                names = sorted(
                    entry.name + ("/" if entry.is_dir() else "")
                    for entry in entries
                    if entry.name.startswith(beginning)
                    and (beginning.startswith(".") or not entry.name.startswith("."))
                    and (entry.is_dir() or not self._endings or entry.name.endswith(self._endings))
                )
        except OSError:
            return None
        prefix = f"{folder}/" if "/" in value else ""
        return prefix + names[0] if names and beginning else None
