"""Makes the package data `src/seaway/api/data/schema.json`: one definition a line, facts only.

    python tools/make_schema.py FACTS.json PROTOBUF.md > src/seaway/api/data/schema.json

FACTS.json: OpenAPI definitions with field types, list and patch rules and protobuf numbers.
PROTOBUF.md: text whose lines `Message: 1 name:type 2 other:type?` say which fields have presence (`?`) and how the
messages are laid out that JSON flattens into their parents.

What the result adds: `proto` is a field number, or `[outer, inner]` for a field of a flattened message; `pointer` marks
scalars whose zero value differs from absence; keys of list maps carry the default that clients rely on.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

GROUPS = frozenset(
    (
        "", "discovery.k8s.io", "networking.k8s.io", "coordination.k8s.io", "events.k8s.io", "apps",
        "rbac.authorization.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "policy", "autoscaling",
    )
)  # fmt: skip
KEY_DEFAULTS = {("ServicePort", "protocol"): "TCP", ("ContainerPort", "protocol"): "TCP"}
# Empty lists that mean something: typed clients of older versions require the first, the second clears ownership.
KEPT_EMPTY = frozenset((("EndpointSlice", "endpoints"), ("ObjectMeta", "managedFields")))
SCALAR_MARK = re.compile(r"^(\w+)(?::([^?*\s]+))?([?*])?$")
DROPPED = ("unions", "protoOnly", "enum")
HEADING = re.compile(r"^# .*\[(\S+)/generated\.proto\]$")
Table = dict[str, dict[str, tuple[int, bool]]]


def parse_messages(text: str) -> Table:
    """OpenAPI name of the message to field name to (number, has presence)."""
    messages: Table = {}
    package = ""
    for line in text.splitlines():
        if heading := HEADING.match(line):
            package = f"io.k8s.{heading[1].replace('/', '.')}"
        name, colon, rest = line.partition(": ")
        words = rest.split()
        if not colon or not re.fullmatch(r"[A-Z]\w*( \(.*\))?", name) or not words or not words[0].isdigit():
            continue
        fields = {}
        for number, mark in zip(words[::2], words[1::2], strict=False):
            match = SCALAR_MARK.match(mark)
            if not number.isdigit() or match is None:
                break
            fields[match[1]] = (int(number), match[3] == "?")
        messages[f"{package}.{name.split()[0]}"] = fields
    return messages


def collect(definitions: dict[str, Any]) -> list[str]:
    """The names of the definitions that the groups' kinds reach. Lists are left out: they are made, never read."""
    todo = [
        name
        for name, definition in definitions.items()
        for gvk in definition.get("gvk", ())
        if gvk.rpartition("/")[0].rpartition("/")[0] in GROUPS and not name.endswith("List")
    ]
    todo += [name for name in definitions if name.endswith((".meta.v1.DeleteOptions", ".meta.v1.Status"))]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for field in definitions[name].get("fields", {}).values():
            kind = field["type"]
            while isinstance(kind, list):
                kind = kind[1]
            if kind in definitions:
                todo.append(kind)
    return sorted(seen)


def number_field(name: str, field: dict[str, Any], inlined: list[tuple[int, dict[str, tuple[int, bool]]]]) -> Any:
    """The field's protobuf number: its own, or that within a flattened message."""
    if "proto" in field:
        return field["proto"][0]
    for outer, message in inlined:
        if name in message:
            return [outer, message[name][0]]
    return None


def render_definition(name: str, definition: dict[str, Any], messages: Table) -> dict[str, Any]:
    package, short = name.rsplit(".", 1)
    presence = messages.get(name, {})
    inlined, renamed = [], {}
    for wire, (number, kind) in definition.get("protoOnly", {}).items():
        if kind == "EphemeralContainerCommon":
            inlined.append((number, messages[f"{package}.Container"]))
        elif f"{package}.{kind}" in messages:
            inlined.append((number, messages[f"{package}.{kind}"]))
        elif "fields" in definition:
            renamed[wire.lower()] = number
    fields = {}
    for key, field in sorted(definition.get("fields", {}).items()):
        number = number_field(key, field, inlined) or renamed.get(key.lower())
        entry = {k: v for k, v in field.items() if k != "proto"}
        if number is not None:
            entry["proto"] = number
        known = presence.get(key) or next((m[key] for _, m in inlined if key in m), None)
        if field["type"] in ("string", "boolean", "integer:int32", "integer:int64") and (
            known[1] if known else not presence and field["type"] != "string"
        ):
            entry["pointer"] = True
        if (short, key) in KEPT_EMPTY:
            entry["pointer"] = True
        if (short, key) in KEY_DEFAULTS:
            entry["default"] = KEY_DEFAULTS[short, key]
        fields[key] = entry
    result = {k: v for k, v in definition.items() if k not in DROPPED and k != "fields"}
    return {**result, "fields": fields} if fields else result


def main() -> None:
    facts = json.loads(Path(sys.argv[1]).read_text())
    messages = parse_messages(Path(sys.argv[2]).read_text())
    definitions = facts["definitions"]
    lines = [
        f"{json.dumps(name)}:{json.dumps(render_definition(name, definitions[name], messages), separators=(',', ':'))}"
        for name in collect(definitions)
    ]
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
