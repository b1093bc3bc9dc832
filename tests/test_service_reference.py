"""The page about the fields of Services is complete, and its examples do what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from seaway.apiserver.config import ServerConfig
from tests.apiserver.conversation import SERVICES, Conversation, Reply, talk

Json = dict[str, Any]
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "service-reference.md").read_text()
SCHEMA = json.loads((ROOT / "src" / "seaway" / "api" / "data" / "schema.json").read_text())
CORE = "io.k8s.api.core.v1."
CHAPTERS = {
    "Spec": (f"{CORE}ServiceSpec",),
    "Ports": (f"{CORE}ServicePort",),
    "Status": (f"{CORE}ServiceStatus", f"{CORE}LoadBalancerIngress"),
}
CONFIG = ServerConfig(service_cidrs=("10.96.0.0/16", "fd10::/112"), external_ip_cidrs=("198.51.100.0/24",))


def split_chapters() -> dict[str, dict[str, str]]:
    """The text of each field, by chapter."""
    chapters = {}
    for chapter in PAGE.split("\n## ")[1:]:
        title, _, rest = chapter.partition("\n")
        parts = [part.partition("`\n") for part in rest.split("\n### `")[1:]]
        chapters[title] = {name: text for name, _, text in parts}
    return chapters


def list_examples() -> list[Any]:
    examples = []
    for chapter, fields in split_chapters().items():
        for name, text in fields.items():
            blocks = re.findall(r"(?:^    .*\n?)+", text, re.MULTILINE)
            assert blocks, f"{name} has no example"
            examples += [
                pytest.param(re.sub("^    ", "", block, flags=re.MULTILINE), id=f"{chapter} {name} {number}")
                for number, block in enumerate(blocks, 1)
            ]
    return examples


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_field_is_explained_and_no_other(chapter: str) -> None:
    known = {field for schema in CHAPTERS[chapter] for field in SCHEMA[schema]["fields"]}
    assert set(split_chapters()[chapter]) == known


def apply(example: Json) -> Reply:
    replies: list[Reply] = []

    async def conversation(ask: Conversation) -> None:
        if "spec" in example:
            replies.append(await ask("POST", SERVICES, {"metadata": {"name": "web"}, **example}))
            return
        balancer = {"metadata": {"name": "web"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
        assert (await ask("POST", SERVICES, balancer)).status == 201
        replies.append(await ask.patch(f"{SERVICES}/web/status", example))

    talk(conversation, config=CONFIG)
    return replies[0]


@pytest.mark.parametrize("block", list_examples())
def test_an_example(block: str) -> None:
    example = yaml.safe_load(block)
    (part,) = example
    promises = dict(re.findall(r"^# (becomes|refused): (.+)$", block, re.MULTILINE))
    reply = apply(example)
    if "refused" in promises:
        assert reply.status == 422, reply.body
        assert yaml.safe_load(promises["refused"]) in reply.message
        return
    assert reply.status in (200, 201), reply.body
    made = reply.body[part]
    expected = yaml.safe_load(promises.get("becomes", "{}"))
    if "becomes" not in promises:
        expected = {key: value for key, value in example[part].items() if key != "ports"}
    assert {**made, **expected} == made
