"""One answer after another, generated in a thread while the event loop serves connections."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import Request

from edgetune.errors import EdgetuneError
from edgetune.serve.engine import Engine, Piece
from edgetune.serve.sampling import Sampling


class Stopping(EdgetuneError):
    """The server is going down."""


class Desk:
    """Hands one answer after another to the engine, in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # One worker: the requests behind it wait in its queue, first come first served.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="answer")
        self._open: set[Generation] = set()
        self._stopping = False

    def begin(self, ids: list[int], sampling: Sampling) -> "Generation":
        """Queue an answer. Raises Stopping once the server is going down."""
        if self._stopping:
            raise Stopping("The server is shutting down.")
        generation = Generation(self, ids, sampling)
        self._open.add(generation)
        self._worker.submit(generation.work)
        return generation

    def done(self, generation: "Generation") -> None:
        self._open.discard(generation)

    def stop(self) -> None:
        """Begin no more answers and end those in progress; does not wait for them."""
        self._stopping = True
        for generation in list(self._open):
            generation.cancelled.set()
        self._worker.shutdown(wait=False)


class Generation:
    """An answer on its way from the worker thread to the event loop."""

    def __init__(self, desk: Desk, ids: list[int], sampling: Sampling) -> None:
        self.ids = ids
        self.cancelled = threading.Event()
        self._desk, self._sampling = desk, sampling
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()

    def work(self) -> None:
        """Runs in the worker thread."""
        try:
            if not self.cancelled.is_set():
                for piece in self._desk.engine.generate(self.ids, self._sampling, self.cancelled):
                    self._deliver(piece)
        except Exception as error:  # raised again where the request is answered
            self._deliver(error)
        finally:
            self._deliver(None)
            self._desk.done(self)

    def _deliver(self, item: Piece | Exception | None) -> None:
        # The loop is closed if the server went down meanwhile: nobody waits for the item.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, item)

    async def pieces(self) -> AsyncIterator[Piece]:
        """The pieces as they come. Raises what the engine raised, Stopping when cancelled."""
        try:
            while (item := await self._arrived.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                if item.finish_reason == "cancelled":
                    break
                yield item
                if item.finish_reason is not None:
                    return
            raise Stopping("The answer was stopped: the server is shutting down.")
        finally:
            self.cancelled.set()

    async def watch(self, request: Request) -> None:
        """Cancel once the client has gone."""
        while not await request.is_disconnected():
            await asyncio.sleep(0.05)
        self.cancelled.set()
