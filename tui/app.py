"""The application: five modes, each a screen of its own that is imported when first opened."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from edgetune import paths
from edgetune.runs import Run
from edgetune.train.process import Child

from .messages import ChatWith, ExportRun, OpenRun, TrainWith
from .services import clipboard, preferences
from .services.library import Library
from .widgets.mode_bar import MODES as MODE_KEYS


def _home() -> Screen[None]:
    from .screens.home import HomeScreen

    return HomeScreen()


def _data() -> Screen[None]:
    from .screens.data import DataScreen

    return DataScreen()


def _train() -> Screen[None]:
    from .screens.train import TrainScreen

    return TrainScreen()


def _export() -> Screen[None]:
    from .screens.export import ExportScreen

    return ExportScreen()


def _chat() -> Screen[None]:
    from .screens.chat import ChatScreen

    return ChatScreen()


class EdgetuneApp(App[None]):
    """Tune, export and chat from the terminal."""

    TITLE = "edgetune"
    CSS_PATH = "app.tcss"
    DEFAULT_MODE = "home"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "home": _home,
        "data": _data,
        "train": _train,
        "export": _export,
        "chat": _chat,
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(f"{key.lower()},{digit}", f"go('{mode}')", mode.capitalize(), show=False)
            for digit, (mode, key) in enumerate(MODE_KEYS.items(), 1)
        ),
        Binding("f1,question_mark", "help", "Help", key_display="F1"),
        Binding("f7", "toggle_dark", "Light or dark", show=False),
        Binding("escape", "leave_field", "Leave the field", show=False),
    ]

    def __init__(self, runs_dir: Path | None = None) -> None:
        """``runs_dir`` holds the runs; None: the usual place (see ``paths.runs_dir``)."""
        super().__init__()
        self.runs_dir = paths.runs_dir(runs_dir)
        self.library = Library(self.runs_dir)
        self.preferences = preferences.load()
        self.trainers: dict[Path, Child] = {}
        """Trainers that this UI started, by run directory; they do not end with it."""

    def on_mount(self) -> None:
        if self.preferences.theme in self.available_themes:
            self.theme = self.preferences.theme
        if not self.is_headless:
            # So that the chat's server ends with a UI that is told to go.
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self.theme_changed_signal.subscribe(self, lambda theme: self._keep_theme(theme.name))

    def _keep_theme(self, name: str) -> None:
        self.preferences.theme = name
        self.preferences.save()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        for mode in MODE_KEYS:
            title = f"Go to {mode.capitalize()}"
            yield SystemCommand(title, f"Open the {mode} screen", lambda m=mode: self.go_to(m))
        yield SystemCommand("Light or dark", "Switch the theme", self.action_toggle_dark)
        yield SystemCommand("Help", "Keys and what to do on this screen", self.action_help)
        # The built-in help panel lists every key of every widget; ours is one page.
        own = ("Keys", "Maximize", "Minimize")
        for command in super().get_system_commands(screen):
            if command.title not in own:
                yield command

    async def action_go(self, mode: str) -> None:
        """Open a mode."""
        await self._open(mode)

    def go_to(self, mode: str) -> None:
        """Open a mode, from outside an action."""
        self.call_later(self.action_go, mode)

    async def _open(self, mode: str) -> Screen[Any]:
        await self.switch_mode(mode)
        return self.screen_stack[0]

    def action_toggle_dark(self) -> None:
        """Switch between a light and a dark theme."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"

    def action_leave_field(self) -> None:
        """Leave a text field, so that single keys are commands again."""
        self.screen.set_focus(None)

    def action_help(self) -> None:
        """Explain the current screen."""
        from .screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(getattr(self.screen, "HELP", "")))

    def copy(self, text: str) -> None:
        """Copy through the terminal and through the system's tool, and say what is known of it."""
        self.copy_to_clipboard(text)
        tool = clipboard.copy(text)
        if tool:
            self.notify(f"Copied with {tool}.")
        else:
            self.notify(
                "Sent to the terminal. No clipboard tool answered (pbcopy, wl-copy, xclip), so "
                "whether it arrived is up to the terminal (OSC 52).",
                severity="warning",
            )

    @on(OpenRun)
    async def _open_run(self, message: OpenRun) -> None:
        from .screens.train import TrainScreen

        cast(TrainScreen, await self._open("train")).watch_run(message.run)

    @on(TrainWith)
    async def _train_with(self, message: TrainWith) -> None:
        from .screens.train import TrainScreen

        cast(TrainScreen, await self._open("train")).fill(message.model, message.data)

    @on(ExportRun)
    async def _export_run(self, message: ExportRun) -> None:
        from .screens.export import ExportScreen

        cast(ExportScreen, await self._open("export")).choose(message.run)

    @on(ChatWith)
    async def _chat_with(self, message: ChatWith) -> None:
        from .screens.chat import ChatScreen

        cast(ChatScreen, await self._open("chat")).choose(message.file)

    def trainer_of(self, run: Run) -> Child | None:
        """The trainer process of a run, if this UI started it."""
        return self.trainers.get(run.path.resolve())


def run(runs_dir: Path | None = None) -> None:
    """Open the UI on this terminal and return when it is closed."""
    with _guarded_screen():
        EdgetuneApp(runs_dir).run()


@contextmanager
def _guarded_screen() -> Iterator[None]:
    """Send what native libraries write to file descriptor 2 to a file: it would spoil the screen.

    Python's own stderr, through which Textual draws, goes on to the terminal.
    """
    try:
        paths.home().mkdir(parents=True, exist_ok=True)
        log = os.open(paths.home() / "tui.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError:
        log = os.open(os.devnull, os.O_WRONLY)
    terminal = os.dup(2)
    before = sys.stderr, sys.__stderr__
    stream = os.fdopen(os.dup(terminal), "w", encoding="utf-8", errors="replace")
    sys.stderr = sys.__stderr__ = stream  # type: ignore[misc]
    os.dup2(log, 2)
    try:
        yield
    finally:
        stream.flush()
        os.dup2(terminal, 2)
        sys.stderr, sys.__stderr__ = before  # type: ignore[misc]
        os.close(terminal)
        os.close(log)
