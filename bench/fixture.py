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
TRAFFIC = Goal("fixture: ready with traffic, after import", "s", at_most=0.5)
POD = Goal("fixture: a program runs as a Pod, and its Service answers", "s", at_most=0.5)
GOALS = (READY, IMPORT, NAMESPACE, PLUGIN, TRAFFIC, POD)
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

SERVED = "import os, socket; s = socket.create_server((os.environ['POD_IP'], 8080))\nwhile True: s.accept()[0].close()"
TRAFFIC_PROGRAM = f"""
import time, json, socket, sys
from seaway.testing.server import SeawayServer
import seaway.testing.traffic
imported = time.perf_counter()
with SeawayServer(traffic=True) as seaway:
    ready = time.perf_counter()
    seaway.make_service("web", ports=[{{"port": 80, "targetPort": 8080}}])
    seaway.run_pod("web-1", [sys.executable, "-S", "-c", {SERVED!r}], port=8080)
    socket.create_connection(seaway.address_of("svc/web")).recv(1)
    answered = time.perf_counter()
json.dump([ready - imported, answered - ready], sys.stdout)
"""


def run() -> list[Figure]:
    """Medians of fresh processes: authority, keys, store, control loops and TLS are made in each."""
    rounds = [_measure(PROGRAM) for _ in range(ROUNDS)]
    plugin, imported, ready, opened = (median(values) for values in zip(*rounds, strict=True))
    with_traffic = [_measure(TRAFFIC_PROGRAM) for _ in range(ROUNDS)]
    served, answered = (median(values) for values in zip(*with_traffic, strict=True))
    return [
        Figure(
            READY, ready, "SeawayServer().start() in a fresh process: certificates, own objects, control loops, TLS"
        ),
        Figure(IMPORT, imported),
        Figure(NAMESPACE, opened * 1000, "with its default ServiceAccount"),
        Figure(PLUGIN, plugin * 1000, "import of seaway.testing.plugin after pytest"),
        Figure(TRAFFIC, served, "the same with the node agent, its shim, and the userspace plane"),
        Figure(POD, answered, "from the request that makes the Pod to a connection through the Service"),
    ]


def _measure(program: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    return msgspec.json.decode(done.stdout, type=list[float])
