"""What a failed Pod means for its Job. Rule: upstream's podFailurePolicy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seaway.api.pod.types import Pod

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judgement:
    """action: `Count`, `Ignore`, `FailIndex` or `FailJob`; the message is for the last."""

    action: str = "Count"
    message: str = ""


def judge_failure(job: Json, pod: Pod) -> Judgement:
    """The first rule that matches the Pod decides; without one it counts."""
    for number, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        found = _match_codes(rule.get("onExitCodes"), pod) or _match_conditions(rule.get("onPodConditions"), pod)
        if found:
            return Judgement(
                rule.get("action", "Count"), f"{found} matching {rule.get('action')} rule at index {number}"
            )
    return Judgement()


def _match_codes(wanted: Json | None, pod: Pod) -> str:
    if wanted is None:
        return ""
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        ended, name = status.state.terminated, wanted.get("containerName")
        if ended is None or not ended.exit_code or name not in (None, "", status.name):
            continue
        if (ended.exit_code in (wanted.get("values") or ())) is (wanted.get("operator") == "In"):
            where = f"Container {status.name} for pod {pod.metadata.namespace}/{pod.metadata.name}"
            return f"{where} failed with exit code {ended.exit_code}"
    return ""


def _match_conditions(wanted: list[Json] | None, pod: Pod) -> str:
    for pattern in wanted or ():
        for condition in pod.status.conditions:
            if (condition.type, condition.status) == (pattern.get("type"), pattern.get("status", "True")):
                return f"Pod {pod.metadata.namespace}/{pod.metadata.name} has condition {condition.type}"
    return ""
