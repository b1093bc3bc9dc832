"""What an Accept header asks for: the media type, and whether the object, a Table or its metadata.

Protobuf is never answered: every client that asks for it lists JSON, too. A clause that cannot be served is skipped.
Rule: spec "api-machinery" §2.2, §2.4; errors §1.4 (406).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seaway.api.machinery.errors import NotAcceptable

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
META_GROUP = "meta.k8s.io"
_MEDIA_OF_RANGE = {JSON: JSON, YAML: YAML, "*/*": JSON}
_SERVED = f"{JSON}, {YAML}, {PROTOBUF}"  # as upstream names them: clients show the text, none reads it
_LIST_FORM = "PartialObjectMetadataList"
_ITEM_FORM = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Accepted:
    """How to answer. `version` is that of meta.k8s.io for a table or metadata, empty for the object."""

    kind: Literal["object", "table", "metadata"]
    version: str
    media: str
    pretty: bool = False


@dataclass(frozen=True, slots=True)
class Clause:
    """One media range of an Accept header, with its parameters in lower case."""

    media: str
    parameters: dict[str, str]
    quality: float


def parse_accept(accept: str) -> tuple[Clause, ...]:
    """The clauses, the most wanted first; equal ones in the order of the header. Refused ones (q=0) are left out."""
    clauses = [_parse_clause(text) for text in accept.split(",") if text.strip()]
    return tuple(sorted((c for c in clauses if c.quality > 0), key=lambda clause: -clause.quality))


def negotiate(accept: str, *, is_list: bool, is_watch: bool) -> Accepted:
    """The first thing that the client accepts and the server has. An empty header means JSON.

    Raises NotAcceptable.
    """
    if not accept.strip():
        return Accepted("object", "", JSON)
    known_media = False
    for clause in parse_accept(accept):
        media = _MEDIA_OF_RANGE.get(clause.media)
        if media is None or (is_watch and media == YAML):
            continue
        stream = clause.parameters.get("stream", "")
        if stream and not (is_watch and stream == "watch"):
            continue
        known_media = True
        accepted = _accept_form(clause.parameters, media)
        if accepted is not None:
            _check_form(clause.parameters.get("as", ""), is_list=is_list and not is_watch)
            return accepted
    if known_media:
        raise NotAcceptable(f"only the following media types are accepted: {_SERVED}")
    streams = f", {JSON};stream=watch, {PROTOBUF};stream=watch" if is_list or is_watch else ""
    raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {_SERVED}{streams}", {})


def _parse_clause(text: str) -> Clause:
    media, *rest = (part.strip() for part in text.split(";"))
    parameters = {}
    for part in rest:
        name, _, value = part.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    try:
        quality = float(parameters.pop("q", "1"))
    except ValueError:
        quality = 1.0
    return Clause(media.lower(), parameters, quality)


def _accept_form(parameters: dict[str, str], media: str) -> Accepted | None:
    pretty = parameters.get("pretty") == "1"
    form = parameters.get("as", "")
    if not form:
        return Accepted("object", "", media, pretty)
    version = parameters.get("v", "")
    if parameters.get("g") != META_GROUP or version not in ("v1", "v1beta1"):
        return None
    if form == "Table":
        return Accepted("table", version, media, pretty)
    if form in (_ITEM_FORM, _LIST_FORM):
        return Accepted("metadata", version, media, pretty)
    return None


def _check_form(form: str, *, is_list: bool) -> None:
    if form == _ITEM_FORM and is_list:
        raise NotAcceptable(f"you requested {_ITEM_FORM}, but the requested object is a list")
    if form == _LIST_FORM and not is_list:
        raise NotAcceptable(f"you requested {_LIST_FORM}, but the requested object is not a list")
