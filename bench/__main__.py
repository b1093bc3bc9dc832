"""`python -m bench [component …]`: run the benchmarks and print one table."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Sequence
from types import ModuleType

import bench
from bench.figures import Figure, render_table


def find_components() -> dict[str, ModuleType]:
    """The modules of this package that have goals and a run, by name, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if not module.name.startswith("_"))
    modules = {name: importlib.import_module(f"bench.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "GOALS") and hasattr(module, "run")}


def measure(name: str, module: ModuleType) -> list[Figure]:
    """The component's figures; when the benchmark breaks, every goal with the reason."""
    print(f"bench: {name} …", end="", file=sys.stderr, flush=True)
    begun = time.monotonic()
    try:
        result = module.run()
        figures: list[Figure] = asyncio.run(result) if inspect.iscoroutine(result) else result
    except Exception as error:  # the other components' figures are still wanted
        figures = [Figure(goal, None, f"{type(error).__name__}: {error}") for goal in module.GOALS]
    print(f" {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return figures


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 when everything was measured, 1 when something was not, 2 for an unknown component."""
    components = find_components()
    unknown = [name for name in arguments if name not in components]
    if unknown:
        print(f"bench: no component {unknown[0]}; there are {', '.join(components)}", file=sys.stderr)
        return 2
    # An installed program has its bytecode; one that may not keep it compiles half a second of source at each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    figures = [
        f for name, module in components.items() if not arguments or name in arguments for f in measure(name, module)
    ]
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, Linux {platform.release()}, Python {platform.python_version()}")
    print(render_table(figures))
    return 0 if all(figure.measured is not None for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
