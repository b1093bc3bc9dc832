"""`python -m tests.fuzz --requests 1000000 --seed 7`: rounds until the count is reached, then the table of answers."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.rounds import ROUND_REQUESTS, Result, minimize, replay, run_round
from tests.fuzz.steps import decode_step, encode_step


def main() -> int:
    """0: nothing is wrong; 1: something is, and it was told."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--round", type=int, default=0, help="the first round")
    parser.add_argument(
        "--keep-going", action="store_true", help="tell every rule that is broken, once each, not the first alone"
    )
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--replay", type=Path, help="play the steps of this file, one a line, instead")
    options = parser.parse_args()
    if options.replay is not None:
        first, *lines = options.replay.read_text().splitlines()
        complaints = replay([decode_step(line) for line in lines], first.removeprefix("# seed "))
        print(*complaints, sep="\n")
        return 1 if complaints else 0
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    counts: Counter[tuple[str, str, int]] = Counter()
    broken: set[str] = set()
    done, number, started = 0, options.round, time.monotonic()
    while done < options.requests:
        base = done

        def show(count: int, base: int = base, number: int = number) -> None:
            if sys.stderr.isatty():
                elapsed = time.monotonic() - started
                print(
                    f"\rround {number}  {base + count} requests  {(base + count) / elapsed:.0f}/s ",
                    end="",
                    file=sys.stderr,
                )

        result = run_round(
            options.seed, number, min(ROUND_REQUESTS, options.requests - done), ignored=broken, on_progress=show
        )
        counts += result.counts
        done += result.requests
        number += 1
        if result.complaints:
            broken |= {complaint.rule for complaint in result.complaints}
            _tell(result, shrinks=not options.no_shrink)
            if not options.keep_going:
                break
    elapsed = time.monotonic() - started
    _print_table(counts)
    rounds = f"rounds {options.round} to {number - 1} of seed {options.seed}"
    print(f"{done} requests in {elapsed:.0f} s ({done / elapsed:.0f}/s), {rounds}")
    for rule in sorted(broken):
        print(f"BROKEN: {rule}")
    return 1 if broken else 0


def _tell(result: Result, *, shrinks: bool) -> None:
    print(f"\nround {result.seed!r}, step {len(result.steps)}:")
    print(*(f"  {complaint}" for complaint in result.complaints[:5]), sep="\n")
    if shrinks:
        steps = minimize(result)
        print(f"# seed {result.seed}", *map(encode_step, steps), sep="\n", flush=True)


def _print_table(counts: Counter[tuple[str, str, int]]) -> None:
    codes = sorted({code for _, _, code in counts})
    rows = sorted({(kind, method) for method, kind, _ in counts})
    width = max((len(kind) for kind, _ in rows), default=4)
    print(f"{'kind':{width}} {'method':8}" + "".join(f"{code:>8}" for code in codes))
    rare: Counter[int] = Counter()
    for kind, method in rows:
        found = [counts[(method, kind, code)] for code in codes]
        if method not in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            rare.update(dict(zip(codes, found, strict=True)))
            continue
        print(f"{kind:{width}} {method:8}" + "".join(f"{count or '·':>8}" for count in found))
    print(f"{'other methods':{width}} {'':8}" + "".join(f"{rare[code] or '·':>8}" for code in codes))


if __name__ == "__main__":
    sys.exit(main())
