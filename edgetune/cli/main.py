"""The ``edgetune`` command: assembles the commands and turns errors into exit statuses.

Each command lives in a file of its own, holds flags and one call, and imports its work only when
it runs, so that ``edgetune --help`` answers at once.
"""

import os
import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgetune import __version__
from edgetune.errors import EdgetuneError, explain_os_error

app = typer.Typer(
    name="edgetune",
    help="Tune a language model on your own instructions, export it to GGUF, and chat with it "
    "offline, with proof that the file you run is the model you trained.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
