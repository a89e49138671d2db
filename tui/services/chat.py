"""Talking to a GGUF: a child ``edgetune serve`` and its OpenAI-compatible stream."""

import asyncio
import atexit
import json
import subprocess
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from edgetune.errors import EdgetuneError
from edgetune.train.process import spawn

_PATIENCE = 120.0
# Seconds for a model to load; a large file from a slow disk takes a while.


@dataclass(frozen=True)
class Delta:
    """A piece of an answer; the last one has a reason and the server's token counts."""

    text: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Server:
    """A child ``edgetune serve FILE`` that ends with this process."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.url = ""
        self.context = 0
        """Tokens that a conversation may have."""
        # In our own session: closing the terminal ends it as well.
        self._child = spawn(
            ["serve", str(file), "--port", "0", "--json"], f"serve-{file.stem}", own_session=False
        )
        atexit.register(self.stop)

    async def ready(self) -> None:
        """Wait until it answers. Raises EdgetuneError with its own words if it ends instead."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if about := _announcement(self._child.output()):
                self.url, self.context = about["url"], about["context"]
                return
            if self._child.status() is not None:
                raise EdgetuneError(
                    self._child.complaint()
                    or f"The server for {self.file.name} ended before it was ready."
                )
            await asyncio.sleep(0.05)
        self.stop()
        raise EdgetuneError(
            f"{self.file.name} was not loaded within {_PATIENCE:.0f} seconds.",
            f"Its output: {self._child.log}",
        )

    def stop(self) -> None:
        """End it, gently first. Returns once it is gone."""
        atexit.unregister(self.stop)
        process = self._child.process
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    async def stream(self, messages: list[dict[str, str]]) -> AsyncGenerator[Delta, None]:
        """The answer to a conversation, as it comes.

        Leaving the iteration closes the connection, which stops the generation. Raises
        EdgetuneError for an answer that is an error and for a server that went away.
        """
        body = {
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        # The first token waits for the whole prompt, so reading has no time limit; Esc has none
        # either.
        limits = httpx.Timeout(10.0, read=None)
        whole = False
        # A proxy from the environment has no business between us and our own child.
        async with httpx.AsyncClient(timeout=limits, trust_env=False) as client:
            try:
                request = client.stream("POST", f"{self.url}/chat/completions", json=body)
                async with request as response:
                    if response.status_code != 200:
                        raise EdgetuneError(_error(await response.aread()))
                    async for line in response.aiter_lines():
                        data = line.removeprefix("data: ")
                        if data == "[DONE]":
                            whole = True
                        elif data != line:
                            yield _delta(json.loads(data))
            except httpx.HTTPError as error:
                raise self._broken(str(error) or type(error).__name__) from None
        if not whole:
            raise self._broken("the server closed the connection.")

    def _broken(self, reason: str) -> EdgetuneError:
        return EdgetuneError(f"The answer broke off: {self._child.complaint() or reason}")


def _announcement(output: str) -> dict[str, Any] | None:
    """What the server says about itself once it is ready: one line, a JSON object."""
    for line in output.splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            about: dict[str, Any] = json.loads(line)
            return about
    return None


def _delta(chunk: dict[str, Any]) -> Delta:
    if "error" in chunk:
        raise EdgetuneError(_message(chunk))
    usage = chunk.get("usage") or {}
    choice = (chunk.get("choices") or [{}])[0]
    return Delta(
        text=(choice.get("delta") or {}).get("content") or "",
        finish_reason=choice.get("finish_reason"),
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
    )


def _error(body: bytes) -> str:
    try:
        return _message(json.loads(body))
    except (ValueError, AttributeError):
        return body.decode("utf-8", errors="replace")[:500]


def _message(document: dict[str, Any]) -> str:
    error = document.get("error")
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)
