"""What the attempts of a PUT share. Rule: spec "api-machinery" §4.5."""

from __future__ import annotations

from seaway.api.machinery.codec import Decoded
from seaway.apiserver.writing.writes import Replacement


def test_a_second_attempt_does_not_see_what_the_first_did_to_the_object() -> None:
    replacement = Replacement(lambda: Decoded({"metadata": {"name": "web"}}))
    first = replacement({}).obj
    first["metadata"]["uid"] = "1"
    first["status"] = {}
    assert replacement({}).obj == {"metadata": {"name": "web"}}


def test_a_body_is_decoded_once_for_one_attempt() -> None:
    decodings: list[Decoded] = []

    def decode() -> Decoded:
        decodings.append(Decoded({}))
        return decodings[-1]

    Replacement(decode)({})
    assert len(decodings) == 1
