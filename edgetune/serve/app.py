"""The OpenAI-compatible HTTP server: one model, on this machine only.

``GET /health``, ``GET /v1/models`` and ``POST /v1/chat/completions``. One answer is generated at
a time, in a thread; further requests wait their turn. A client that closes its connection ends
its answer within a token, waiting or not. What the request may hold is in ``protocol.py``.
"""

import asyncio
import contextlib
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from edgetune.errors import EdgetuneError, RequestError
from edgetune.serve.desk import Desk, Generation, Stopping
from edgetune.serve.engine import Engine, Piece, PromptTooLong
from edgetune.serve.protocol import ChatRequest, parse

_LOCAL = ("127.0.0.1", "localhost", "::1")
_CREATED = int(time.time())


def create_app(engine: Engine) -> Starlette:
    """The application around one engine. ``app.state.desk.stop()`` ends all answers."""
    desk = Desk(engine)

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok", **_about(engine)})

    async def models(_request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(engine)]})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(_model(engine)) if name == engine.name else _unknown(engine, name)

    async def completions(request: Request) -> Response:
        return await _complete(desk, request)

    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", model),
            Route("/v1/chat/completions", completions, methods=["POST"]),
        ],
        middleware=[Middleware(_LocalOnly)],
        exception_handlers={
            HTTPException: _http_error,
            RequestError: _request_error,
            EdgetuneError: _server_error,
            Exception: _server_error,
        },
    )
    app.state.desk = desk
    return app


def serve(
    engine: Engine,
    port: int = 0,
    ready: Callable[[str], None] | None = None,
    host: str = "127.0.0.1",
) -> None:
    """Serve until SIGINT or SIGTERM, then end the answers in progress and return.

    ``ready`` is told the base URL (``http://127.0.0.1:PORT/v1``) once connections are accepted;
    port 0 takes a free one. Raises RequestError if the port is taken or ``host`` is not this
    machine alone.
    """
    if host not in _LOCAL:
        raise RequestError(
            f"The server answers on this machine only, not on {host}.", "Leave the host out."
        )
    app = create_app(engine)
    listener = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}/v1"
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5
    )
    with listener:
        _Server(config, app.state.desk, url, ready).run(sockets=[listener])
    app.state.desk.stop()


class _Server(uvicorn.Server):
    """Tells when it is ready, and ends the answers in progress when it is told to go."""

    def __init__(
        self,
        config: uvicorn.Config,
        desk: Desk,
        url: str,
        ready: Callable[[str], None] | None,
    ) -> None:
        super().__init__(config)
        self._desk, self._url, self._ready = desk, url, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready is not None:
            self._ready(self._url)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._desk.stop()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again once it has ended. A server that was asked to stop and
        # did is not interrupted work: its exit status is 0.
        with super().capture_signals():
            yield
            self._captured_signals.clear()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise RequestError(
            f"Port {port} on {host} cannot be used: {error.strerror}.",
            "Choose another --port; 0 takes a free one.",
        ) from None
    return listener


class _EventStream(StreamingResponse):
    """Server-sent events of one answer; ends the answer when the client goes away."""

    def __init__(self, generation: Generation, events: AsyncIterator[str]) -> None:
        super().__init__(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
        self._generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._generation.cancelled.set()


async def _complete(desk: Desk, request: Request) -> Response:
    engine = desk.engine
    asked = parse(await request.body())
    if asked.model is not None and asked.model != engine.name:
        return _unknown(engine, asked.model)
    ids = await asyncio.to_thread(engine.prompt_ids, asked.conversation())
    generation = desk.begin(ids, asked.sampling())
    pieces = generation.pieces()
    frame = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": engine.name,
    }
    watch = asyncio.create_task(generation.watch(request))
    try:
        if not asked.stream:
            return JSONResponse(await _whole(frame, generation, pieces))
        # The first piece is awaited, so that what is wrong with a request has its HTTP status.
        first = await anext(pieces)
    finally:
        watch.cancel()
        if not asked.stream:
            generation.cancelled.set()
    return _EventStream(generation, _events(frame, asked, generation, first, pieces))


async def _whole(
    frame: dict[str, Any], generation: Generation, pieces: AsyncIterator[Piece]
) -> dict[str, Any]:
    text, tokens, reason = "", 0, None
    async for piece in pieces:
        text += piece.text
        tokens += piece.token_id is not None
        reason = piece.finish_reason
    return frame | {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "logprobs": None,
                "finish_reason": reason,
            }
        ],
        "usage": _usage(generation, tokens),
    }


async def _events(
    frame: dict[str, Any],
    asked: ChatRequest,
    generation: Generation,
    first: Piece,
    pieces: AsyncIterator[Piece],
) -> AsyncIterator[str]:
    frame = frame | {"object": "chat.completion.chunk"}
    tokens = 0

    def chunk(delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event(frame | {"choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    try:
        piece = first
        while True:
            tokens += piece.token_id is not None
            if piece.text:
                yield chunk({"content": piece.text})
            if piece.finish_reason is not None:
                yield chunk({}, piece.finish_reason)
                break
            piece = await anext(pieces)
    except EdgetuneError as error:
        yield _event(_error_body(error, "server_error"))
        return
    if asked.includes_usage:
        yield _event(frame | {"choices": [], "usage": _usage(generation, tokens)})
    yield "data: [DONE]\n\n"


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n"


def _usage(generation: Generation, tokens: int) -> dict[str, int]:
    prompt = len(generation.ids)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": tokens,
        "total_tokens": prompt + tokens,
    }


def _about(engine: Engine) -> dict[str, Any]:
    return {"model": engine.name, "context": engine.context}


def _model(engine: Engine) -> dict[str, Any]:
    return {
        "id": engine.name,
        "object": "model",
        "created": _CREATED,
        "owned_by": "edgetune",
        "context_length": engine.context,
    }


class _LocalOnly:
    """Refuses what a web page in the user's browser could send here without being asked.

    A foreign page may post to 127.0.0.1 (its Origin tells) or let its own name point there (the
    Host tells); programs on this machine send neither.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Request(scope).headers
            host = urlsplit(f"//{headers.get('host', 'localhost')}").hostname
            origin = headers.get("origin")
            if host not in _LOCAL or (origin and urlsplit(origin).hostname not in _LOCAL):
                answer = _error(403, "Only programs on this machine are answered.")
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _error_body(error: Exception | str, kind: str, code: str | None = None) -> dict[str, Any]:
    param = getattr(error, "param", None)
    return {"error": {"message": str(error), "type": kind, "param": param, "code": code}}


def _error(status: int, error: Exception | str, code: str | None = None) -> JSONResponse:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse(_error_body(error, kind, code), status_code=status)


def _unknown(engine: Engine, name: str) -> Response:
    message = f"There is no model `{name}` here, only `{engine.name}`."
    return _error(404, message, "model_not_found")


def _http_error(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    return _error(status, f"{getattr(error, 'detail', error)}: see /v1/chat/completions.")


def _request_error(_request: Request, error: Exception) -> Response:
    code = "context_length_exceeded" if isinstance(error, PromptTooLong) else None
    return _error(400, error, code)


def _server_error(_request: Request, error: Exception) -> Response:
    if isinstance(error, Stopping):
        return _error(503, error)
    if isinstance(error, EdgetuneError):
        return _error(500, error)
    return _error(500, f"Something unforeseen went wrong: {type(error).__name__}.")
