"""What was made of a text before, for texts that a client sends: bounded in number and in length.

A header or a path may have 64 KiB. A few thousand of them, each remembered with what was made of it, would let anybody
fill the server's memory; whoever means well repeats short ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar, cast

REMEMBERED_LENGTH = 512
"""Longer than any path of objects whose names are valid, and than the Accept header of every known client."""


P = ParamSpec("P")
R = TypeVar("R")


def remember_short(
    size: int, *, length: int = REMEMBERED_LENGTH
) -> Callable[[Callable[Concatenate[str, P], R]], Callable[Concatenate[str, P], R]]:
    """Decorates a pure function: the last `size` results are kept, of first arguments no longer than `length`."""

    def decorate(function: Callable[Concatenate[str, P], R]) -> Callable[Concatenate[str, P], R]:
        remembered = cast(Callable[Concatenate[str, P], R], functools.lru_cache(maxsize=size)(function))

        def call(text: str, /, *arguments: P.args, **named: P.kwargs) -> R:
            if len(text) > length:
                return function(text, *arguments, **named)
            return remembered(text, *arguments, **named)

        functools.update_wrapper(call, function)
        return call

    return decorate
