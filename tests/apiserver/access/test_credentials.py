"""Fixed tokens and bootstrap tokens. Rule: spec "api-machinery" §10.1."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from seaway.api.machinery.http import Identity
from seaway.apiserver.access.credentials import Credentials, digest_token, parse_token_file
from seaway.net.errors import OperationalError
from tests.apiserver.conversation import Conversation, Json, talk

SECRETS = "/api/v1/namespaces/kube-system/secrets"
TOKEN_ID, TOKEN_SECRET = "abcdef", "0123456789abcdef"
TOKEN = f"{TOKEN_ID}.{TOKEN_SECRET}"
GOOD = {
    "token-id": TOKEN_ID,
    "token-secret": TOKEN_SECRET,
    "usage-bootstrap-authentication": "true",
    "expiration": "2026-01-02T13:00:00Z",
}


def make_secret(name: str = f"bootstrap-token-{TOKEN_ID}", kind: str = "bootstrap.kubernetes.io/token",
                **data: str | None) -> Json:  # fmt: skip
    values = {key: value for key, value in (GOOD | data).items() if value is not None}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"metadata": {"name": name}, "type": kind, "data": encoded}


def joined(*groups: str) -> Identity:
    return Identity("system:bootstrap:abcdef", tuple(sorted(("system:authenticated", "system:bootstrappers", *groups))))


@pytest.mark.parametrize(
    ("secret", "token", "identity"),
    [
        pytest.param(make_secret(), TOKEN, joined(), id="a good token is a bootstrapper"),
        pytest.param(
            make_secret(**{"auth-extra-groups": "system:bootstrappers:b,system:bootstrappers:a:x"}), TOKEN,
            joined("system:bootstrappers:a:x", "system:bootstrappers:b"), id="further groups",
        ),
        pytest.param(make_secret(expiration=None), TOKEN, joined(), id="no expiration is none"),
        pytest.param(make_secret(expiration="2026-01-02T12:00:00Z"), TOKEN, None, id="at its expiration it is over"),
        pytest.param(make_secret(expiration="2026-01-02T14:00:01+02:00"), TOKEN, joined(), id="other time zones"),
        pytest.param(make_secret(expiration="soon"), TOKEN, None, id="what is no time has expired"),
        pytest.param(make_secret(), f"{TOKEN_ID}.0123456789abcdee", None, id="another secret"),
        pytest.param(make_secret(), "abcdeg.0123456789abcdef", None, id="another id"),
        pytest.param(make_secret(), TOKEN.upper(), None, id="capitals are another token"),
        pytest.param(make_secret(), f"{TOKEN}0", None, id="longer than a token"),
        pytest.param(make_secret(**{"usage-bootstrap-authentication": None}), TOKEN, None, id="not for this use"),
        pytest.param(make_secret(**{"usage-bootstrap-authentication": "True"}), TOKEN, None, id="only the word true"),
        pytest.param(make_secret(**{"token-id": "abcdeg"}), TOKEN, None, id="the id inside is another"),
        pytest.param(make_secret(**{"token-id": None}), TOKEN, None, id="no id inside"),
        pytest.param(make_secret(**{"token-secret": ""}), f"{TOKEN_ID}.", None, id="an empty secret opens nothing"),
        pytest.param(make_secret(**{"auth-extra-groups": "system:masters"}), TOKEN, None,
                     id="a group of others makes it useless"),
        pytest.param(make_secret(**{"auth-extra-groups": "system:bootstrappers:"}), TOKEN, None, id="an empty group"),
        pytest.param(make_secret(kind="Opaque"), TOKEN, None, id="a Secret of another type"),
        pytest.param(make_secret(name="bootstrap-token-other"), TOKEN, None, id="a Secret of another name"),
    ],
)  # fmt: skip
def test_bootstrap_tokens(secret: Json, token: str, identity: Identity | None) -> None:
    async def conversation(ask: Conversation) -> None:
        assert (await ask("POST", SECRETS, secret)).status == 201
        assert ask.server.find_identity(token) == identity

    talk(conversation)


def test_a_bootstrap_token_ends_with_its_secret() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SECRETS, make_secret())
        assert ask.server.find_identity(TOKEN) is not None
        await ask("DELETE", f"{SECRETS}/bootstrap-token-{TOKEN_ID}")
        assert ask.server.find_identity(TOKEN) is None

    talk(conversation)


def test_a_secret_elsewhere_is_no_bootstrap_token() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", "/api/v1/namespaces/default/secrets", make_secret())
        assert ask.server.find_identity(TOKEN) is None

    talk(conversation)


def find_fixed(text: str, token: str) -> Identity | None:
    return parse_token_file(text, subject="f").get(digest_token(token))


@pytest.mark.parametrize(
    ("text", "token", "identity"),
    [
        pytest.param("t,ann,u-1", "t", Identity("ann", (), "u-1"), id="three columns"),
        pytest.param('t,ann,u-1,"b,a"', "t", Identity("ann", ("a", "b"), "u-1"), id="groups in quotes"),
        pytest.param('t,ann,"u-1","b, a",""', "t", Identity("ann", ("a", "b"), "u-1"), id="more columns are ignored"),
        pytest.param("t,ann,", "t", Identity("ann"), id="an empty uid"),
        pytest.param("# who\n\nt,ann,u", "t", Identity("ann", (), "u"), id="comments and empty lines"),
        pytest.param("t,ann,u\nt,ben,v", "t", Identity("ben", (), "v"), id="the last line counts"),
        pytest.param("t,ann,u", "T", None, id="another token"),
    ],
)
def test_the_token_file(text: str, token: str, identity: Identity | None) -> None:
    assert find_fixed(text, token) == identity


@pytest.mark.parametrize("line", ["sesame,ann", "sesame", ",ann,u", "sesame,,u"])
def test_a_bad_line_of_the_token_file_is_named_and_not_shown(line: str) -> None:
    with pytest.raises(OperationalError, match="token file f: line 2") as caught:
        parse_token_file(f"t,ann,u\n{line}", subject="f")
    assert "sesame" not in str(caught.value)


def test_a_fixed_token_is_good_for_the_api_and_for_nobody_else() -> None:
    async def conversation(ask: Conversation) -> None:
        identity = Identity("ann", ("g", "system:authenticated"), "u")
        assert ask.server.find_identity("t") == identity
        authenticator = ask.server.state.authenticator
        assert authenticator.verify("t", ["vault"]) is None
        verified = authenticator.verify("t", ["vault", authenticator.issuer.url])
        assert verified is not None and verified.audiences == (authenticator.issuer.url,)

    talk(conversation, credentials=Credentials(static_tokens=parse_token_file("t,ann,u,g", subject="f")))


def test_credentials_do_not_print_their_tokens() -> None:
    shown: Any = repr(Credentials(static_tokens={digest_token("t"): Identity("ann")}))
    assert "ann" not in shown
