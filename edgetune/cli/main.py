"""The ``edgetune`` command: assembles the commands and turns errors into exit statuses.

Each command lives in a file of its own, holds flags and one call, and is imported only when it
runs, so that ``edgetune --help`` answers at once. Exit status: 0 done, 1 the work failed, 2 the
request was wrong, 130 interrupted.
"""

import importlib
import io
import os
import shutil
import signal
import sys
import textwrap
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgetune import __version__
from edgetune.errors import EdgetuneError, explain_os_error

COMMANDS = {
    "quickstart": "Tune, evaluate, export, verify and chat, with the embedded model and data.",
    "doctor": "What this machine offers, what is missing and how to get it.",
    "data": "Look at instruction data, convert, mix and split it.",
    "train": "Tune a model on instructions.",
    "runs": "List, show and remove training runs.",
    "eval": "Grade a model's answers to held-out instructions.",
    "export": "Turn a run into GGUF files, each of them verified.",
    "verify": "Check a GGUF file against the model it was made from.",
    "chat": "Talk to a GGUF file or a run in the terminal.",
    "serve": "Answer OpenAI clients with a GGUF file.",
    "models": "List, pull and remove base models.",
    "tui": "Do all of it in a terminal interface.",
}
"""Every command, with its line in the help. ``edgetune.cli.NAME`` holds a function ``command``,
or, for a command with commands of its own, a ``typer.Typer`` called ``app``."""


class _Commands(TyperGroup):
    """A group that knows its commands by name and imports them on use."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        names: dict[str, Any] = dict.fromkeys(COMMANDS)
        self.commands = names  # nothing but the names is asked of it

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edgetune.cli.{cmd_name}")
        part = getattr(module, "app", None)
        if part is None:
            part = _typer()
            part.command(cmd_name)(module.command)
            return typer.main.get_command(part)
        part.rich_markup_mode = None
        group = typer.main.get_group(part)
        group.name = cmd_name
        group.help = group.help or COMMANDS[cmd_name]
        return group

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _typer(**attributes: Any) -> typer.Typer:
    return typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, **attributes
    )


app = _typer(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"edgetune {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where in the program an error arose.")
    ] = False,
) -> None:
    """Tune a language model on your own instructions, export it to GGUF, and chat with it
    offline, with proof that the file you run is the model you trained.

    Without a command edgetune opens its terminal interface.
    """
    if context.invoked_subcommand is None:
        if sys.stdin.isatty() and sys.stdout.isatty():
            importlib.import_module("edgetune.cli.tui").command()
        else:
            print(context.get_help())


def main() -> None:
    """The console script: runs the command line of this process and exits with its status."""
    # A polite kill unwinds like Ctrl-C, so that nothing half-written stays behind.
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        # What a locale other than UTF-8 cannot write is escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit status. An error is one paragraph on stderr."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in own
    # Accepted after the command as well, where people add it.
    rest = [argument for argument in own if argument != "--debug"] + list(arguments[len(own) :])
    try:
        status = app(rest, standalone_mode=False, prog_name="edgetune")
        if sys.stdout:
            sys.stdout.flush()
    except SystemExit as end:
        _drop_stdout()  # the reader of a pipe went away
        return end.code if isinstance(end.code, int) else 1
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except KeyboardInterrupt:
        status = 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _fail(*_explain(error))
    if status == 130:
        return _fail("Interrupted.", 130)
    return status if isinstance(status, int) else 0


def _explain(error: Exception) -> tuple[str, int]:
    """What to say about an error, and the exit status."""
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "edgetune"
        text = error.format_message().strip()
        text += "" if text.endswith((".", "?", "!")) else "."
        return f"{text} Try `{command} --help`.", error.exit_code
    if isinstance(error, OSError):
        error = explain_os_error(error, "reading or writing files")
    if isinstance(error, EdgetuneError):
        return str(error), error.exit_code
    if isinstance(error, typer.Abort):
        return "Stopped, since there was no answer.", 1
    return (
        f"Something unforeseen went wrong: {type(error).__name__}: {error}. "
        "The same command with --debug shows where.",
        1,
    )


def _fail(text: str, status: int) -> int:
    paragraph = " ".join(f"edgetune: {text}".split())
    if sys.stderr and sys.stderr.isatty():
        width = min(shutil.get_terminal_size().columns, 100)
        paragraph = textwrap.fill(paragraph, width, break_long_words=False, break_on_hyphens=False)
    print(paragraph, file=sys.stderr)
    _drop_stdout()
    return status


def _drop_stdout() -> None:
    """Flush what was printed; if nobody can take it, Python must not try again at its end."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
