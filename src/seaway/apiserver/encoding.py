"""How an answer's bytes are dressed: indented, as YAML, compressed. Rule: spec "api-machinery" §2.2."""

from __future__ import annotations

import zlib

import msgspec

from seaway.api.machinery.http import Request
from seaway.api.machinery.remember import remember_short
from seaway.apiserver.negotiation import JSON, Accepted, negotiate
from seaway.apiserver.reading.tables import check_include_object
from seaway.apiserver.routes import is_true

GZIP_FROM_BYTES = 128 << 10
PLAIN = Accepted("object", "", JSON)


@remember_short(512)
def _negotiate(accept: str, is_list: bool, is_watch: bool) -> Accepted:
    return negotiate(accept, is_list=is_list, is_watch=is_watch)


def choose_form(request: Request, *, is_list: bool = False, is_watch: bool = False) -> Accepted:
    """The form of the answer; remembered per Accept header. Raises NotAcceptable, and BadRequest for an odd Table."""
    accept = request.headers.get("accept", "")
    form = _negotiate(accept, is_list, is_watch) if accept else PLAIN
    if form.kind == "table" and request.query:
        check_include_object(request.find_parameter("includeObject") or "")
    return form


def is_pretty(request: Request) -> bool:
    """The client wants indented JSON: it says so, or is a person's tool."""
    wish = request.find_parameter("pretty") if request.query else None
    if wish is not None:
        return is_true(wish)
    return request.headers.get("user-agent", "").startswith(("curl", "Wget", "Mozilla/5.0"))


def prettify(body: bytes) -> bytes:
    """The same JSON, indented by two."""
    return msgspec.json.format(body, indent=2)


def accepts_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


def compress(body: bytes) -> bytes:
    """gzip, fast rather than small (upstream's level is 1 too)."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
