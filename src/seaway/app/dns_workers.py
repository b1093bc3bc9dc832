"""`seaway dns --workers N`: one process that watches and answers, the others follow it and answer beside it.

All are children of a process that does nothing but start again whichever dies: a follower gets the whole state anew,
and followers go on with what they know while there is no leader. Rule: spec "discovery" A4, design.md §11 (processes).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from seaway.app.calm import calm_collector, calmly, return_memory
from seaway.app.pieces import Report, run_daemon, run_with_client
from seaway.app.supervisor import Piece, Supervisor
from seaway.dns.config import DnsConfig
from seaway.dns.run import DRAIN_SECONDS, RELOAD_SIGNALS, Source, follow, run
from seaway.dns.serve import DnsError, ensure_free

LEADER = "dns"


def run_dns_workers(config: DnsConfig, kubeconfig: Path | None, source: Source | None, report: Report) -> int:
    """Serve until told to stop; the exit code. report: says `ready` when all workers are."""
    try:
        ensure_free(config.listen)
    except DnsError as error:
        report(f"fatal {error}")
        return 1
    name = f"seaway-dns-{os.getpid()}-{secrets.token_hex(8)}"

    def lead(tell: Report) -> int:
        return run_with_client(
            kubeconfig,
            LEADER,
            calmly(lambda client, on_ready: run(config, client, on_ready=on_ready, source=source, hub_name=name)),
            tell,
        )

    def follow_leader(tell: Report) -> int:
        def calm_and_tell(line: str) -> None:
            calm_collector()
            return_memory()
            tell(line)

        return run_daemon(lambda on_ready: follow(config, name, on_ready=on_ready, source=source), calm_and_tell)

    followers = [Piece(f"{LEADER}-{number}", follow_leader) for number in range(1, config.workers)]
    supervisor = Supervisor(
        [Piece(LEADER, lead), *followers],
        None,
        on_ready=lambda: report("ready"),
        on_death=lambda worker, how: report(f"{worker}: {how}"),
        stop_seconds=config.lifecycle.lameduck_seconds + DRAIN_SECONDS + 1,
        passed_on=dict.fromkeys(RELOAD_SIGNALS, LEADER),
    )
    words = supervisor.run()
    if words:
        report(f"fatal {words}")
    return 1 if words else 0
