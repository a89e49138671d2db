"""``edgetune chat``: in a pipe, with -p, and at a terminal."""

import contextlib
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgetune.cli import main

COMMAND = [sys.executable, "-m", "edgetune", "chat"]
GREEDY = ["--temperature", "0"]


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process, with standard input piped: status, stdout, stderr."""

    def run(*options: str, piped: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
        status = main.run(["chat", *options])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_a_prompt_is_answered_on_stdout_alone(scripted: Path) -> None:
    command = [*COMMAND, str(scripted), "-p", "a", *GREEDY]
    result = subprocess.run(command, input=b"", capture_output=True, timeout=60, check=False)
    assert (result.stdout, result.stderr, result.returncode) == (b"bcd\n", b"", 0)


def test_what_is_piped_in_is_the_prompt_or_its_end(scripted: Path, run: Run) -> None:
    assert run(str(scripted), *GREEDY, piped=b"q\ne") == (0, "€\n", "")
    # The prompt is "qq\na", 5 tokens with BOS; its last letter is asked.
    _, answer, _ = run(str(scripted), "-p", "qq", *GREEDY, "--context", "6", piped=b"a\n")
    assert answer == "b\n"
    status, _, _ = run(str(scripted), "-p", "qqq", "--context", "6", piped=b"a\n")
    assert status == 2


def test_a_system_message_and_a_limit(scripted: Path, run: Run) -> None:
    options = ["-p", "a", "--system", "q", "--max-tokens", "2", "--seed", "1"]
    assert run(str(scripted), *options) == (0, "bc\n", "")


def test_a_base_model_answers_with_a_note(plain: Path, run: Run) -> None:
    _, answer, note = run(str(plain), "-p", "a", *GREEDY)
    assert answer == "hi\n"
    assert "plain template" in note


@pytest.mark.parametrize(
    ("options", "piped", "said"),
    [
        (["-p", " "], b"", "empty"),
        ([], b"\xff", "UTF-8"),
        (["-p", "x" * 600], b"", "512"),
        (["-p", "a", "--context", "513"], b"", "513"),
    ],
)
def test_a_wrong_request_is_one_paragraph_and_exit_2(
    scripted: Path, run: Run, options: list[str], piped: bytes, said: str
) -> None:
    status, answer, error = run(str(scripted), *options, piped=piped)
    assert status == 2
    assert said in error
    assert error.count("\n") == 1
    assert answer == ""


def test_no_such_model_and_no_gguf(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "x.gguf"
    assert run(str(file), "-p", "a")[0] == 2
    file.write_bytes(b"GGUF and no more")
    status, _, error = run(str(file), "-p", "a")
    assert status == 2
    assert "damaged" in error


class Terminal:
    """A program at a pseudo-terminal."""

    def __init__(self, command: list[str], home: Path) -> None:
        self.pid, self._handle = pty.fork()
        if self.pid == 0:
            # A shell ignores the signal for what it runs in the background, tests among it.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.environ |= {"TERM": "xterm", "EDGETUNE_HOME": str(home)}
            os.execv(command[0], command)
        self.seen = ""

    def wait_for(self, text: str, seconds: float = 60) -> str:
        """Read until ``text`` appears; what came up to it."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._handle], [], [], left)[0]:
                raise AssertionError(f"{text!r} did not appear in {self.seen[-2000:]!r}")
            try:
                data = os.read(self._handle, 65536).decode("utf-8", "replace")
            except OSError:
                raise AssertionError(f"it ended before {text!r}: {self.seen!r}") from None
            self.seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data).replace("\r", "")
        before, _, self.seen = self.seen.partition(text)
        return before

    def send(self, text: str) -> None:
        os.write(self._handle, text.encode())

    def key_c(self, at_prompt: bool = False) -> None:
        """Ctrl-C, as the terminal driver does it."""
        if at_prompt:
            # Between printing the prompt and waiting for a key, readline misses a signal.
            time.sleep(0.5)
        self.send("\x03")

    def exit_status(self) -> int:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with contextlib.suppress(OSError):  # it has closed its side
                if select.select([self._handle], [], [], 0.05)[0]:
                    os.read(self._handle, 65536)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("it did not end")

    def close(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self._handle)


@pytest.fixture
def terminal(endless: Path, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*options: str) -> Terminal:
        opened.append(Terminal([*COMMAND, str(endless), *GREEDY, *options], tmp_path))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_a_conversation_at_the_terminal(terminal: Callable[..., Terminal]) -> None:
    chat = terminal("--system", "q")
    chat.wait_for("> ")
    chat.send("a\n")
    chat.wait_for("bcd\n")
    # <s>[q]a is 5 tokens; then bcd</s>e is 5 more.
    assert "[3 tokens" in chat.wait_for("context 8/8192]")
    chat.wait_for("> ")
    chat.send("e\n")
    chat.wait_for("€\n")
    chat.wait_for("context 13/8192]")
    chat.wait_for("> ")
    chat.send("/system\n")
    chat.wait_for("No system message.")
    chat.send("/clear\n")
    chat.wait_for("anew")
    chat.wait_for("> ")
    chat.send("a\n")
    chat.wait_for("context 5/8192]")
    chat.send("/help\n")
    chat.wait_for("/exit")
    chat.send("/what\n")
    chat.wait_for("no command /what")
    chat.send("q\\\n")
    chat.wait_for(". ")
    chat.send("1\n")
    chat.wait_for("234\n")
    chat.wait_for("> ")
    chat.send("/exit\n")
    assert chat.exit_status() == 0


def test_ctrl_c_stops_an_answer_and_keeps_it(terminal: Callable[..., Terminal]) -> None:
    chat = terminal("--context", "32768")
    chat.wait_for("> ")
    chat.send("x\n")
    chat.wait_for("yxyxyx")
    chat.key_c()
    figures = chat.wait_for("stopped]")
    tokens = int(re.search(r"\[(\d+) tokens", figures)[1])  # type: ignore[index]
    assert 6 <= tokens < 32000
    chat.wait_for("> ")
    chat.send("a\n")
    chat.wait_for("bcd\n")
    # <s>x, the partial answer and its </s>, a, bcd
    chat.wait_for(f"context {2 + tokens + 1 + 1 + 3}/")
    chat.wait_for("> ")
    chat.key_c(at_prompt=True)
    assert chat.exit_status() == 0


def test_ctrl_c_on_a_line_gives_up_the_line(terminal: Callable[..., Terminal]) -> None:
    chat = terminal()
    chat.wait_for("> ")
    chat.send("abc")
    chat.wait_for("abc")
    chat.key_c(at_prompt=True)
    chat.wait_for("> ")
    chat.send("a\n")
    chat.wait_for("bcd\n")
    chat.wait_for("> ")
    chat.send("\x04")
    assert chat.exit_status() == 0


def test_the_history_lasts(terminal: Callable[..., Terminal]) -> None:
    for keys in ("1\n", "\x1b[A\n"):
        chat = terminal()
        chat.wait_for("> ")
        chat.send(keys)
        chat.wait_for("234\n")
        chat.wait_for("> ")
        chat.send("\x04")
        assert chat.exit_status() == 0


def test_ctrl_c_stops_a_single_answer_with_130(terminal: Callable[..., Terminal]) -> None:
    chat = terminal("-p", "x")
    chat.wait_for("yxyx")
    chat.key_c()
    chat.wait_for("interrupted")
    assert chat.exit_status() == 130


def test_answers_alone_go_to_a_redirected_stdout(scripted: Path, tmp_path: Path) -> None:
    master, slave = os.openpty()
    try:
        settings = termios.tcgetattr(slave)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        os.write(master, b"a\n/help\ne\n\x04")
        result = subprocess.run(
            [*COMMAND, str(scripted), *GREEDY],
            stdin=slave,
            capture_output=True,
            timeout=60,
            check=False,
            env=os.environ | {"EDGETUNE_HOME": str(tmp_path)},
        )
    finally:
        os.close(master)
        os.close(slave)
    assert result.stdout == "bcd\n€\n".encode()
    assert b"/exit" in result.stderr
