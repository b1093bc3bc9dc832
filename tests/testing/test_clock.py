from __future__ import annotations

import asyncio

import pytest

from seaway.testing.clock import run_virtually


def test_an_hour_passes_at_once_and_timers_keep_their_order() -> None:
    order: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    async def main() -> float:
        await asyncio.gather(sleep("late", 3600), sleep("early", 1))
        return asyncio.get_running_loop().time()

    assert run_virtually(main()) == pytest.approx(3600)
    assert order == ["early", "late"]


def test_waiting_for_nothing_is_an_error() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="never come"):
        run_virtually(main())
