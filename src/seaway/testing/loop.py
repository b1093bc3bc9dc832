"""An event loop in a thread of its own: servers live there, whatever the tests do with theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from seaway.app.pieces import find_loop_factory

P = ParamSpec("P")
T = TypeVar("T")
CLOSING_ROUNDS = 5
"""In which the loop takes closed transports off its selector; left there they warn when they are collected."""


class LoopThread:
    """Runs coroutines for threads and for other loops, from `start` to `close`.

    The thread is a daemon: an interpreter that was left without `close` still ends.
    """

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None

    def start(self) -> None:
        """Returns when coroutines can be run."""
        self._thread.start()
        self._started.wait()

    def close(self) -> None:
        """Cancel what still runs, end the thread. Safe to repeat."""
        if self._loop is not None and self._ending is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()

    def wait(self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the coroutine returns or raises; the calling thread waits, so it must not be the loop's own."""
        assert threading.current_thread() is not self._thread, "the loop's own thread would wait for itself"
        loop = self._get_loop()
        running = asyncio.run_coroutine_threadsafe(work(*args, **kwargs), loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()  # Ctrl-C, or a test's timeout: nobody wants the result any more
            raise

    async def run(self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for a coroutine of any asyncio loop, this one's included; that loop goes on meanwhile."""
        loop = self._get_loop()
        if asyncio.get_running_loop() is loop:
            return await work(*args, **kwargs)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(*args, **kwargs), loop))

    def _get_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or not self._thread.is_alive():
            raise RuntimeError("the Seaway of this test does not run: it was not started, or was closed")
        return self._loop

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=find_loop_factory()) as runner:
            runner.run(self._stay())

    async def _stay(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        self._started.set()
        await self._ending.wait()
        for _ in range(CLOSING_ROUNDS):
            await asyncio.sleep(0)
