"""What is done to a body: to its tree, to its JSON text, to its bytes."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.fuzz import values

Json = dict[str, Any]
_encoder = msgspec.json.Encoder()


def mutate(rng: random.Random, tree: Any, *, other: Any = None) -> None:
    """One change somewhere in the tree, in place. other: where a piece of another object may come from."""
    parent, key = pick_place(rng, tree)
    if parent is None:
        return
    value = parent[key]
    draw = rng.randrange(14)
    if draw < 3:
        suggested = values.plausible(rng, key) if isinstance(key, str) else None
        parent[key] = copy.deepcopy(suggested) if suggested is not None else values.hostile(rng)
    elif draw < 5:
        parent[key] = values.hostile(rng)
    elif draw == 5:
        del parent[key]
    elif draw == 6:
        parent[key] = None
    elif draw == 7:
        parent[key] = [value, copy.deepcopy(value)] if rng.random() < 0.5 else {"a": value}
    elif draw == 8 and isinstance(parent, dict):
        parent[_odd_key(rng, str(key))] = copy.deepcopy(value)
    elif draw == 9 and isinstance(parent, dict):
        parent[_odd_key(rng, str(key))] = parent.pop(key)
    elif draw == 10 and isinstance(value, list) and value:
        _mutate_list(rng, value)
    elif draw == 11:
        parent[key] = str(value) if not isinstance(value, str) else (len(value) if rng.random() < 0.5 else [value])
    elif draw == 12 and other is not None:
        there, at = pick_place(rng, other)
        if there is not None:
            parent[key] = copy.deepcopy(there[at])
    else:
        there, at = pick_place(rng, tree)
        if there is not None and there is not parent:
            parent[key] = copy.deepcopy(there[at])


def pick_place(rng: random.Random, tree: Any) -> tuple[Any, Any]:
    """A map or list of the tree and a key or index in it; (None, None) when there is none."""
    found: tuple[Any, Any] = (None, None)
    node = tree
    while isinstance(node, dict | list) and node:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        found = (node, key)
        if rng.random() < 0.25:
            break
        node = node[key]
    return found


def _mutate_list(rng: random.Random, items: list[Any]) -> None:
    match rng.randrange(5):
        case 0:
            items.append(copy.deepcopy(rng.choice(items)))
        case 1:
            items.reverse()
        case 2:
            items.clear()
        case 3:
            items.append(values.hostile(rng))
        case 4:
            items.extend(copy.deepcopy(items[0]) for _ in range(rng.choice((2, 20, 120))))


def _odd_key(rng: random.Random, key: str) -> str:
    return rng.choice(
        (
            key.upper(),
            key.lower(),
            key.capitalize(),
            f"{key} ",
            f"f:{key}",
            f"$setElementOrder/{key}",
            "unknown",
            values.text(rng),
        )
    )


def encode(tree: Any) -> bytes:
    """JSON with the raw pieces in it as they are."""
    return _encoder.encode(tree)


def is_plain(tree: Any) -> bool:
    """No raw pieces in it, and no number that other codecs cannot hold."""
    return not any(isinstance(node, msgspec.Raw) for node in _walk(tree))


def _walk(tree: Any) -> Iterator[Any]:
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, dict):
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def damage(rng: random.Random, body: bytes) -> bytes:
    """The bytes cut, flipped, doubled or stuffed."""
    if not body:
        return rng.randbytes(rng.randrange(40))
    at = rng.randrange(len(body))
    match rng.randrange(8):
        case 0:
            return body[:at]
        case 1 | 2:
            return body[:at] + bytes((body[at] ^ 1 << rng.randrange(8),)) + body[at + 1 :]
        case 3:
            return body[:at] + rng.randbytes(rng.randrange(1, 6)) + body[at:]
        case 4:
            end = at + rng.randrange(1, 20)
            return body[:at] + body[at:end] * 2 + body[end:]
        case 5:
            return body[:at] + body[at + rng.randrange(1, 9) :]
        case 6:
            return body[at:]
        case _:
            return body + rng.choice((b"}", b"\x00", b"{}", b" ", b"\n---\n{}", body))


def repeat_key(rng: random.Random, body: bytes) -> bytes:
    """The JSON object with one of its first keys given twice."""
    extra = rng.choice(
        (b'"kind":"Pod",', b'"metadata":{"name":"z"},', b'"spec":{},', b'"apiVersion":"v2",', b'"":1,"":2,')
    )
    at = body.find(b"{", rng.choice((0, 0, 0, 1)))
    return body[: at + 1] + extra + body[at + 1 :] if at >= 0 and body[at + 1 : at + 2] != b"}" else body


YAML_TRICKS = (
    b"a: &a [x]\nb: *a\n", b"a: &a {b: *a}\n", b"<<: {a: b}\n", b"!!python/object/apply:os.system ['true']\n",
    b"--- a\n--- b\n",
    b"\t", b"a: b\n a: c\n", b"? [a]\n: b\n", b"a: 2001-01-01\n", b"a: 1:30\n",
    b"a: .nan\nb: .inf\nc: 0o17\nd: 0x_\ne: 0b\n",
    b"metadata: {name: !!binary aGk=}\n", b"kind: Service\nkind: Pod\n", b"%YAML 9.9\n---\na: b\n", b"a: |\n  x\n",
    b"\xff\xfea\x00", b"- " * 300,
    b"{" * 400, b"&a a: b", b"a: !!float x\n", b"a: !!int x\n", b"a: 0_\n", b"metadata:\n  name: on\n",
    b"\xef\xbb\xbfa: b\n", b"a: '\n", b"---\n...\n",
    b'a: "\\ud800"\n', b"a: 1__2\nb: +_\nc: 0o8\nd: 08\n", b"1: 2\nnull: 3\ntrue: 4\n", b"!<tag:x> a: b\n",
    b"a: -0x1_\nb: -0b_\n",
)  # fmt: skip
