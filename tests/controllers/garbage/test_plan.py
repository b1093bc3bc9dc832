"""Rule: spec "controllers" §7.3."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.controllers.garbage.plan import (
    FOREGROUND,
    ORPHAN,
    Delete,
    OwnedMeta,
    OwnerState,
    RemoveFinalizer,
    StripOwners,
    Verdict,
    judge_dependent,
    judge_owner,
    judge_reference,
)

SOLID, GONE, WAITING = OwnerState.SOLID, OwnerState.GONE, OwnerState.WAITING


def meta(*owners: str, **rest: Any) -> OwnedMeta:
    references = [{"apiVersion": "v1", "kind": "Service", "name": uid, "uid": uid} for uid in owners]
    return msgspec.convert(
        {"name": "x", "namespace": "default", "uid": "x", "ownerReferences": references, **rest}, OwnedMeta
    )


ENDING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
DEPENDENTS: list[tuple[str, OwnedMeta, dict[str, OwnerState], Verdict]] = [
    ("nobody's object stays", meta(), {}, None),
    ("a solid owner keeps it", meta("a"), {"a": SOLID}, None),
    ("without its owner it goes", meta("a"), {"a": GONE}, Delete("Background")),
    ("one solid owner is enough", meta("a", "b"), {"a": GONE, "b": SOLID}, StripOwners(("a",))),
    ("a waiting owner does not keep it", meta("a"), {"a": WAITING}, Delete("Background")),
    ("its own finalizer decides how", meta("a", finalizers=[FOREGROUND]), {"a": GONE}, Delete("Foreground")),
    ("what is going is left alone", meta("a", **ENDING), {"a": GONE}, None),
]


@pytest.mark.parametrize(("obj", "owners", "verdict"), [c[1:] for c in DEPENDENTS], ids=[c[0] for c in DEPENDENTS])
def test_dependents(obj: OwnedMeta, owners: dict[str, OwnerState], verdict: Verdict) -> None:
    assert judge_dependent(obj, owners) == verdict


def blocking(uid: str) -> OwnedMeta:
    reference = {"apiVersion": "v1", "kind": "Service", "name": uid, "uid": uid, "blockOwnerDeletion": True}
    return msgspec.convert({"name": "d", "uid": "d", "ownerReferences": [reference]}, OwnedMeta)


OWNERS: list[tuple[str, OwnedMeta, list[OwnedMeta], Verdict]] = [
    ("a living owner keeps its finalizers", meta(finalizers=[ORPHAN]), [], None),
    ("an orphaning owner waits for its dependents", meta(finalizers=[ORPHAN], **ENDING), [meta("x")], None),
    ("and goes without them", meta(finalizers=[ORPHAN], **ENDING), [], RemoveFinalizer(ORPHAN)),
    ("a foreground owner waits for those that block", meta(finalizers=[FOREGROUND], **ENDING), [blocking("x")], None),
    ("and not for others", meta(finalizers=[FOREGROUND], **ENDING), [meta("x")], RemoveFinalizer(FOREGROUND)),
    ("other finalizers are others' business", meta(finalizers=["f"], **ENDING), [], None),
]


@pytest.mark.parametrize(("obj", "dependents", "verdict"), [c[1:] for c in OWNERS], ids=[c[0] for c in OWNERS])
def test_owners(obj: OwnedMeta, dependents: list[OwnedMeta], verdict: Verdict) -> None:
    assert judge_owner(obj, dependents) == verdict


def test_an_owner_of_another_uid_is_gone() -> None:
    assert judge_reference(None, "x") is GONE
    assert judge_reference(meta(), "former") is GONE
    assert judge_reference(meta(), "x") is SOLID
    assert judge_reference(meta(finalizers=[FOREGROUND], **ENDING), "x") is WAITING
    assert judge_reference(meta(finalizers=["f"], **ENDING), "x") is SOLID
