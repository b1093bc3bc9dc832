"""The proxy's own pages: metrics, mode, configuration. Rule: spec "proxy" §7.3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from seaway.proxy.health.ports import JSON
from seaway.telemetry.exposition import CONTENT_TYPE
from seaway.telemetry.metrics import Metrics
from seaway.telemetry.page import TEXT, Answer, Request, render_metrics

MODE = "nftables"
CONFIGZ_KEY = "kubeproxy.config.k8s.io"


def answer_page(request: Request, metrics: Metrics, configuration: Mapping[str, Any]) -> Answer:
    """configuration: in the form of KubeProxyConfiguration, with apiVersion and kind."""
    if request.method not in ("GET", "HEAD"):
        return Answer(405, b"GET or HEAD allowed\n")
    match request.path:
        case "/metrics":
            answer = Answer(200, render_metrics(metrics), CONTENT_TYPE)
        case "/healthz":
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
