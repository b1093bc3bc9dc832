"""The pytest fixture: from a server that is imported to one that answers, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from bench.figures import Figure, Goal, median

ROUNDS = 5
PATIENCE_SECONDS = 60
READY = Goal("fixture: ready after import", "s", at_most=0.3, elsewhere="3 s (kube-apiserver + etcd alone)")
IMPORT = Goal("fixture: import", "s")
NAMESPACE = Goal("fixture: a namespace for a test", "ms", at_most=50)
PLUGIN = Goal("fixture: what the plugin costs a run without it", "ms", at_most=5)
GOALS = (READY, IMPORT, NAMESPACE, PLUGIN)
PROGRAM = """
import time, json, sys, pytest
begun = time.perf_counter()
import seaway.testing.plugin
plugin = time.perf_counter()
from seaway.testing.server import SeawayServer
imported = time.perf_counter()
server = SeawayServer().start()
ready = time.perf_counter()
with server.open_namespace():
    opened = time.perf_counter()
server.close()
json.dump([plugin - begun, imported - plugin, ready - imported, opened - ready], sys.stdout)
"""


def run() -> list[Figure]:
    """Medians of fresh processes: authority, keys, store, control loops and TLS are made in each."""
    rounds = [_measure() for _ in range(ROUNDS)]
    plugin, imported, ready, opened = (median(values) for values in zip(*rounds, strict=True))
    return [
        Figure(
            READY, ready, "SeawayServer().start() in a fresh process: certificates, own objects, control loops, TLS"
        ),
        Figure(IMPORT, imported),
        Figure(NAMESPACE, opened * 1000, "with its default ServiceAccount"),
        Figure(PLUGIN, plugin * 1000, "import of seaway.testing.plugin after pytest"),
    ]


def _measure() -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    return msgspec.json.decode(done.stdout, type=list[float])
