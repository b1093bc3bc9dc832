"""By which credentials an API server knows its clients: the issuer of tokens, fixed tokens, and whether nobody may ask.

Rule: spec "api-machinery" §10.1 (static token file), §1.4 (401).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from seaway.api.machinery.http import Identity
from seaway.net.errors import OperationalError
from seaway.pki.issuer import TokenIssuer


@dataclass(frozen=True, slots=True)
class Credentials:
    """`issuer` None: a key that lives as long as the server. `static_tokens`: as `parse_token_file` makes them."""

    issuer: TokenIssuer | None = None
    static_tokens: Mapping[bytes, Identity] = field(default_factory=dict, repr=False)
    allows_anonymous: bool = True
    root_ca_pem: str = ""
    """What the `ca.crt` of token Secrets holds."""


def digest_token(token: str) -> bytes:
    """What a token is looked up by: the lookup's time tells nothing of the tokens that there are."""
    return sha256(token.encode()).digest()


def parse_token_file(text: str, *, subject: str) -> dict[bytes, Identity]:
    """The tokens of a file of lines `token,user,uid,"group1,group2"`; uid and groups may be left out.

    Of a token that is there twice the last line counts, as upstream's does. subject: the file's name, for the error;
    the error never shows a line. Raises OperationalError.
    """
    found: dict[bytes, Identity] = {}
    for number, row in enumerate(csv.reader(text.splitlines(), skipinitialspace=True), 1):
        if not row or row[0].startswith("#"):
            continue
        if len(row) < 3 or not row[0] or not row[1]:
            raise OperationalError(
                f"token file {subject}: line {number} has {len(row)} columns or an empty one; "
                'write token,user,uid or token,user,uid,"group1,group2"'
            )
        groups = tuple(sorted({name.strip() for name in row[3].split(",")} - {""})) if len(row) > 3 else ()
        found[digest_token(row[0])] = Identity(row[1], groups, row[2])
    return found
