"""What was said in a chat."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Label, Markdown, Static
from textual.widgets.markdown import MarkdownStream


class Question(Vertical):
    """What the user said, exactly as typed."""

    def __init__(self, text: str) -> None:
        super().__init__(classes="message question")
        self._text = text

    def compose(self) -> ComposeResult:
        yield Label("you", classes="speaker")
        yield Static(Content(self._text))


class Answer(Vertical):
    """What the model says, rendered as Markdown while it comes."""

    def __init__(self) -> None:
        super().__init__(classes="message answer")
        self.text = ""
        """All that has come so far, as the model wrote it."""
        self._stream: MarkdownStream | None = None

    def compose(self) -> ComposeResult:
        yield Label("model", classes="speaker")
        yield Markdown(open_links=False)
        yield Label("", classes="figures muted")

    async def add(self, piece: str) -> None:
        """Show more of the answer."""
        if self._stream is None:
            self._stream = Markdown.get_stream(self.query_one(Markdown))
        self.text += piece
        await self._stream.write(piece)

    async def finish(self, figures: str) -> None:
        """No more will come; ``figures`` say how it went."""
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
            # Once whole: pieces of a code block parsed one by one may show it empty.
            await self.query_one(Markdown).update(self.text)
        self.query_one(".figures", Label).update(Content(figures))
