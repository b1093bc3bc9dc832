"""What the demo does from the node: run it where Services can be reached (seaway shell -- python node_side.py ...).

get URL                prints the JSON that the URL answers
fetch URL COUNT        asks COUNT times, prints a JSON object: who answered how often
load URL SECONDS       asks in a row for SECONDS, prints a JSON list of [start, end, who or error]
dns SERVER NAME TYPE   prints the answer's records, one a line; SERVER is an address, or address:port
kill POD [DIRECTORY]   ends the first process of the Pod, as a crash would; DIRECTORY: of the Seaway's data, where Pods
                       have no processes of their own to be told from those of another Seaway
"""

from __future__ import annotations

import collections
import http.client
import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path


def ask(url: str) -> str:
    """The Pod that answered, or `error: ...`."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return str(json.load(reply)["pod"])
    except (OSError, http.client.HTTPException) as error:
        return f"error: {error}"


def get(url: str) -> object:
    with urllib.request.urlopen(url, timeout=30) as reply:
        return json.load(reply)


def fetch(url: str, count: str) -> object:
    return dict(collections.Counter(ask(url) for _ in range(int(count))))


def load(url: str, seconds: str) -> object:
    end = time.time() + float(seconds)
    asked = []
    while (start := time.time()) < end:
        who = ask(url)
        asked.append((start, time.time(), who))
    return asked


def dns(server: str, name: str, kind: str) -> object:
    import dns.message
    import dns.query

    host, _, port = server.partition(":")
    reply = dns.query.udp(dns.message.make_query(name, kind), host, port=int(port or 53), timeout=3)
    return [line for rrset in reply.answer for line in rrset.to_text().split("\n")]


def kill(pod: str, directory: str = "") -> object:
    wanted = {f"HOSTNAME={pod}".encode()} | ({f"SEAWAY_STATE={directory}/node".encode()} if directory else set())
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and wanted <= set(_read(entry / "environ").split(b"\0")):
            if b"serve.py" not in _read(entry / "cmdline"):
                continue
            os.kill(int(entry.name), signal.SIGKILL)
            return {"killed": pod, "at": time.time()}
    raise SystemExit(f"no process of Pod {pod} found")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    action, *arguments = sys.argv[1:]
    print(json.dumps({"get": get, "fetch": fetch, "load": load, "dns": dns, "kill": kill}[action](*arguments)))
