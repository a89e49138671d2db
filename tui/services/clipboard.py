"""Copying to the system's clipboard, with the truth about whether it worked."""

import os
import shutil
import subprocess
import sys

_TOOLS = (
    ("pbcopy", ["pbcopy"], None),
    ("wl-copy", ["wl-copy"], "WAYLAND_DISPLAY"),
    ("xclip", ["xclip", "-selection", "clipboard"], "DISPLAY"),
)


def copy(text: str) -> str | None:
    """Hand ``text`` to the first clipboard tool that takes it; its name, or None if none did."""
    for name, command, display in _TOOLS:
        if name == "pbcopy" and sys.platform != "darwin":
            continue
        if shutil.which(command[0]) is None or (display and not os.environ.get(display)):
            continue
        try:
            # xclip stays behind to serve the clipboard: its output must not hold us.
            subprocess.run(
                command,
                input=text.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=5,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return name
    return None
