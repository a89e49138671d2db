"""Chat: talk to a GGUF that a child server runs; stop it at once, keep what came."""

import asyncio
import contextlib
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Footer, Input, Label, Select, Static
from textual.worker import Worker, WorkerCancelled

from edgetune.errors import EdgetuneError

from ..messages import OverviewReady
from ..services.chat import Server
from ..services.meter import Meter
from ..widgets.chat_message import Answer, Question
from ..widgets.mode_bar import ModeBar
from ..widgets.prompt import Prompt
from .mode import ModeScreen


class ChatScreen(ModeScreen):
    """One conversation with one GGUF."""

    HELP: ClassVar[str] = """
### Chat

- **Enter** send; **Ctrl+J** a new line
- **Esc** stop the answer; what has come stays. Once more: leave the text field
- **Ctrl+N** a new conversation
- **Ctrl+Y** copy the last answer
- **Ctrl+O** choose another build
- **Page Up**, **Page Down** scroll

The system prompt goes before the conversation; leave it empty if the model was trained without.
The model runs in a process of its own that ends with this program.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", priority=True),
        Binding("ctrl+n", "new", "New", priority=True),
        Binding("ctrl+y", "copy", "Copy", priority=True),
        Binding("ctrl+o", "pick", "Build", priority=True),
        Binding("pageup", "page(-1)", "Up", show=False, priority=True),
        Binding("pagedown", "page(1)", "Down", show=False, priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._server: Server | None = None
        self._wanted: Path | None = None
        self._conversation: list[dict[str, str]] = []
        self._answering: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        yield ModeBar("chat")
        with Horizontal(id="chat-choice"):
            yield Label("Build")
            yield Select[str]([], id="chat-build", prompt="…", compact=True)
            yield Label("System")
            yield Input(id="system", compact=True, placeholder="none")
        yield VerticalScroll(id="talk")
        yield Static(id="chat-status")
        yield Prompt(id="say", placeholder="Choose a build first", disabled=True)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#system", Input).value = self.app.preferences.system_prompt
        self.query_one("#talk").anchor()
        self.query_one("#chat-build").focus()

    def on_screen_resume(self) -> None:
        self._look()

    def on_unmount(self) -> None:
        if self._server is not None:
            self._server.stop()

    def choose(self, file: Path) -> None:
        """Talk to this file."""
        self._wanted = file.resolve()
        self._look()

    @work(thread=True, exclusive=True, group="look", exit_on_error=False)
    def _look(self) -> None:
        self.post_message(OverviewReady(self.app.library.overview()))

    @on(OverviewReady)
    def _offer(self, message: OverviewReady) -> None:
        select = self.query_one("#chat-build", Select)
        found = {str(m.path.resolve()): m.name for m in message.overview.builds}
        current = None if select.is_blank() else str(select.value)
        wanted = str(self._wanted) if self._wanted else current
        self._wanted = None
        if wanted and wanted not in found and Path(wanted).is_file():
            found[wanted] = Path(wanted).stem
        if wanted is None and len(found) == 1:
            wanted = next(iter(found))  # nothing to choose
        with self.prevent(Select.Changed):
            select.prompt = "Choose a build" if found else "No build yet: export a run first (F5)"
            select.set_options([(name, path) for path, name in found.items()])
            if wanted in found:
                select.value = wanted
        if wanted in found and (self._server is None or str(self._server.file) != wanted):
            self._open(Path(wanted))

    @on(Select.Changed)
    def _changed(self, message: Select.Changed) -> None:
        if not message.select.is_blank():
            self._open(Path(str(message.value)))

    @work(exclusive=True, group="server", exit_on_error=False)
    async def _open(self, file: Path) -> None:
        """Replace the server by one for ``file``."""
        await self._end_answer()
        self._forget()
        say = self.query_one(Prompt)
        say.disabled = True
        self._status(f"Loading {file.name}…")
        if self._server is not None:
            old, self._server = self._server, None
            await asyncio.to_thread(old.stop)
        try:
            server = self._server = Server(file)
            await server.ready()
        except (EdgetuneError, OSError) as error:
            self._server = None
            self._status(str(error), "$text-error")
            return
        say.disabled = False
        say.placeholder = "Say something"
        say.focus()
        self._status(f"{file.name} is ready.")

    def _status(self, text: str, style: str = "$text-muted") -> None:
        self.query_one("#chat-status", Static).update(Content.styled(text, style))

    @on(Input.Submitted, "#system")
    def _keep_system(self, message: Input.Submitted) -> None:
        self.app.preferences.system_prompt = message.value.strip()
        self.app.preferences.save()
        self.query_one("#say").focus()

    @on(Prompt.Submitted)
    def _ask(self, message: Prompt.Submitted) -> None:
        text = message.text
        if self._server is None:
            return
        if self._is_answering():
            self.notify("The answer is still coming: Esc stops it.", severity="warning")
            return
        self.query_one(Prompt).clear()
        self._conversation.append({"role": "user", "content": text})
        self._answering = self._answer(self._server, text)
        self.refresh_bindings()

    @work(exclusive=True, group="answer", exit_on_error=False)
    async def _answer(self, server: Server, question: str) -> None:
        """Stream one answer; however it ends, what came is kept."""
        talk = self.query_one("#talk", VerticalScroll)
        answer = Answer()
        await talk.mount(Question(question), answer)
        talk.anchor()
        system = self.query_one("#system", Input).value.strip()
        messages = [{"role": "system", "content": system}] if system else []
        messages += self._conversation
        meter = Meter()
        ending = "stopped"
        self._status("Reading the prompt…")
        try:
            async with contextlib.aclosing(server.stream(messages)) as deltas:
                async for delta in deltas:
                    if delta.text:
                        meter.count()
                        await answer.add(delta.text)
                        self._status(meter.running())
                    if delta.finish_reason:
                        ending = delta.finish_reason
                    if delta.completion_tokens is not None:
                        meter.exact(delta.prompt_tokens or 0, delta.completion_tokens)
        except EdgetuneError as error:
            ending = "failed"
            self._status(str(error), "$text-error")
        finally:
            meter.stop()
            if answer.text or ending in ("stop", "length"):
                self._conversation.append({"role": "assistant", "content": answer.text})
            else:
                self._conversation.pop()  # unanswered, the question was never asked
            await answer.finish(meter.summary(ending))
            if ending != "failed":
                self._status(meter.fill(server.context))
            self.call_after_refresh(self.refresh_bindings)

    async def _end_answer(self) -> None:
        if self._answering is None or not self._answering.is_running:
            return
        self._answering.cancel()
        with contextlib.suppress(WorkerCancelled):
            await self._answering.wait()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape stops an answer only while one comes; else it belongs to the focused widget."""
        return self._is_answering() if action == "stop" else True

    def _is_answering(self) -> bool:
        return self._answering is not None and self._answering.is_running

    async def action_stop(self) -> None:
        """Stop the answer at once."""
        await self._end_answer()
        self.refresh_bindings()

    async def action_new(self) -> None:
        """Begin a new conversation with the same build."""
        await self._end_answer()
        self._forget()
        if self._server is not None:
            self._status("A new conversation.")
        self.query_one("#say").focus()

    def _forget(self) -> None:
        self._conversation = []
        self.query_one("#talk").remove_children()

    def action_copy(self) -> None:
        """Copy the last answer, as the model wrote it."""
        answers = [m["content"] for m in self._conversation if m["role"] == "assistant"]
        if answers:
            self.app.copy(answers[-1])
        else:
            self.notify("There is no answer to copy yet.", severity="warning")

    def action_pick(self) -> None:
        """Go to the choice of builds."""
        select = self.query_one("#chat-build", Select)
        select.focus()
        select.action_show_overlay()

    def action_page(self, direction: int) -> None:
        """Scroll the conversation by a page."""
        talk = self.query_one("#talk", VerticalScroll)
        if direction < 0:
            talk.scroll_page_up()
        else:
            talk.scroll_page_down()
