"""The proxy's own pages: metrics, mode, configuration. Rule: spec "proxy" §7.3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from seaway.proxy.health.ports import JSON
from seaway.telemetry.exposition import CONTENT_TYPE, render_families
from seaway.telemetry.metrics import Metrics
from seaway.telemetry.page import TEXT, Answer, Request, render_metrics

MODE = "nftables"
CONFIGZ_KEY = "kubeproxy.config.k8s.io"


class Checks:
    """How often this server was asked whether it is there, as component SLIs. Rule: KEP 3466 (names and labels)."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._result = self.metrics.gauge(
            "kubernetes_healthcheck", "This metric records the result of a single healthcheck.", "name", "type"
        )
        self._all = self.metrics.counter(
            "kubernetes_healthchecks_total",
            "This metric records the results of all healthcheck.",
            "name", "status", "type",
        )  # fmt: skip

    def pass_one(self) -> None:
        """`/healthz` was answered: who answers is there."""
        self._result.set(1, "ping", "healthz")
        self._all.inc("ping", "success", "healthz")


def answer_page(request: Request, metrics: Metrics, configuration: Mapping[str, Any], checks: Checks) -> Answer:
    """configuration: in the form of KubeProxyConfiguration, with apiVersion and kind."""
    if request.method not in ("GET", "HEAD"):
        return Answer(405, b"GET or HEAD allowed\n")
    match request.path:
        case "/metrics":
            answer = Answer(200, render_metrics(metrics), CONTENT_TYPE)
        case "/metrics/slis":
            answer = Answer(200, render_families(checks.metrics.collect()), CONTENT_TYPE)
        case "/healthz":
            checks.pass_one()
            answer = Answer(200, b"ok")
        case "/proxyMode":
            answer = Answer(200, MODE.encode(), TEXT)
        case "/configz":
            answer = Answer(200, json.dumps({CONFIGZ_KEY: configuration}, separators=(",", ":")).encode(), JSON)
        case _:
            answer = Answer(404, b"404 page not found\n")
    return without_body(answer, request)


def without_body(answer: Answer, request: Request) -> Answer:
    """The answer to HEAD is a length alone."""
    return Answer(answer.code, answer.body, answer.content_type, request.method != "HEAD", answer.headers)
