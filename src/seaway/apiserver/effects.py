"""What the API server takes from its surroundings: time, randomness, waking up. `run.py` has the real one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar

T = TypeVar("T")


class Cancellable(Protocol):
    """A timer that has not fired yet."""

    def cancel(self) -> None:
        """Never fire. Safe to repeat."""


class Wakeup(Awaitable[None], Protocol):
    """Awaited by one waiter, resolved by whoever has news."""

    def done(self) -> bool:
        """It was resolved or its waiter was cancelled."""

    def set_result(self, result: None, /) -> None:
        """Let the waiter go on."""


class Effects(Protocol):
    """Time, identity and randomness are arguments, also of a server."""

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""

    def wall_now(self) -> datetime:
        """The time of day in UTC."""

    def new_uid(self) -> str:
        """A random UUID."""

    def random(self) -> float:
        """A number in [0, 1)."""

    def report(self, error: Exception) -> None:
        """Tell the operator of a bug: the client gets a 500, the log gets the trace."""

    def new_wakeup(self) -> Wakeup:
        """A future of the running loop."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Cancellable:
        """Call back once, on the loop."""

    async def within(self, seconds: float, work: Awaitable[T]) -> T:
        """What the work returns. Raises TimeoutError, and cancels it, when it takes longer."""


def resolve(wakeup: Wakeup) -> None:
    """Let its waiter go on. Safe to repeat, and after the waiter has gone."""
    if not wakeup.done():
        wakeup.set_result(None)


def format_time(wall_time: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as all times of metadata are written."""
    return f"{wall_time.isoformat(timespec='seconds')[:19]}Z"  # a fifth of what strftime takes
