"""To be taken for somebody else. Rule: spec "api-machinery" §10.1."""

from __future__ import annotations

import pytest

from seaway.api.machinery.errors import BadRequest, Forbidden
from seaway.api.machinery.http import Identity
from seaway.apiserver.access.impersonation import impersonate, parse_impersonation
from seaway.apiserver.access.rbac import Attributes, Policy
from tests.apiserver.conversation import SERVICES, Conversation, Json, talk

GROUP = "authentication.k8s.io"
BOSS = Identity("boss", ("system:authenticated",))
LIST = Attributes("list", "", "services", "", "default")
EVERYBODY = "system:authenticated"


def rule(verb: str, resource: str, group: str = "", *names: str) -> Json:
    return {"verbs": [verb], "apiGroups": [group], "resources": [resource], "resourceNames": list(names)}


def attempt(headers: dict[str, str], *rules: Json) -> Identity:
    role = {"metadata": {"name": "r"}, "rules": list(rules)}
    subject = {"kind": "User", "name": "boss"}
    binding = {"metadata": {"name": "b"}, "subjects": [subject], "roleRef": {"kind": "ClusterRole", "name": "r"}}
    wanted = parse_impersonation({f"impersonate-{key}": value for key, value in headers.items()})
    assert wanted is not None
    return impersonate(wanted, BOSS, LIST, Policy([role], [binding]).decide)


ON_USER = rule("impersonate-on:user-info:list", "services")
AS_USER = rule("impersonate:user-info", "users", GROUP)
ACCOUNT = "system:serviceaccount:a:b"
ACCOUNTS = (EVERYBODY, "system:serviceaccounts", "system:serviceaccounts:a")
ALLOWED = [
    ("a user", {"user": "ann"}, [rule("impersonate", "users")], Identity("ann", (EVERYBODY,))),
    ("a user by name", {"user": "ann"}, [rule("impersonate", "users", "", "ann")], Identity("ann", (EVERYBODY,))),
    ("groups, each by its right", {"user": "ann", "group": "x\ny"},
     [rule("impersonate", "users"), rule("impersonate", "groups", "", "x", "y")],
     Identity("ann", (EVERYBODY, "x", "y"))),
    ("a uid", {"user": "ann", "uid": "u"}, [rule("impersonate", "users"), rule("impersonate", "uids", GROUP)],
     Identity("ann", (EVERYBODY,), "u")),
    ("extras, percent-encoded keys and several values",
     {"user": "ann", "extra-a%2fb": "1\n2", "extra-c": "3"},
     [rule("impersonate", "users"), rule("impersonate", "userextras/a/b", GROUP, "1", "2"),
      rule("impersonate", "userextras/c", GROUP)],
     Identity("ann", (EVERYBODY,), "", (("a/b", ("1", "2")), ("c", ("3",))))),
    ("an account gets its groups", {"user": ACCOUNT}, [rule("impersonate", "serviceaccounts", "", "b")],
     Identity(ACCOUNT, ACCOUNTS)),
    ("an account with other groups has only those", {"user": ACCOUNT, "group": "x"},
     [rule("impersonate", "serviceaccounts"), rule("impersonate", "groups")], Identity(ACCOUNT, (EVERYBODY, "x"))),
    ("nobody stays nobody", {"user": "system:anonymous"}, [rule("impersonate", "users")],
     Identity("system:anonymous", ("system:unauthenticated",))),
    ("both narrow rights", {"user": "ann"}, [ON_USER, AS_USER], Identity("ann", (EVERYBODY,))),
    ("narrow rights of an account", {"user": ACCOUNT},
     [rule("impersonate-on:serviceaccount:list", "services"),
      rule("impersonate:serviceaccount", "serviceaccounts", GROUP)],
     Identity(ACCOUNT, ACCOUNTS)),
    ("narrow rights of a node", {"user": "system:node:n", "group": "system:nodes"},
     [rule("impersonate-on:arbitrary-node:list", "services"), rule("impersonate:arbitrary-node", "nodes", GROUP, "n"),
      rule("impersonate:arbitrary-node", "groups", GROUP)],
     Identity("system:node:n", (EVERYBODY, "system:nodes"))),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "rules", "identity"), [row[1:] for row in ALLOWED], ids=[r[0] for r in ALLOWED])
def test_who_may_is_taken_for_whom_they_ask(headers: dict[str, str], rules: list[Json], identity: Identity) -> None:
    assert attempt(headers, *rules) == identity


REFUSED = [
    ("nothing is allowed", {"user": "ann"}, [], 'cannot impersonate-on:user-info:list resource "services"'),
    ("one narrow right alone", {"user": "ann"}, [ON_USER], 'cannot impersonate:user-info resource "users"'),
    ("the other narrow right alone", {"user": "ann"}, [AS_USER], "cannot impersonate-on:user-info:list"),
    ("on another verb", {"user": "ann"}, [AS_USER, rule("impersonate-on:user-info:get", "services")],
     "cannot impersonate-on:user-info:list"),
    ("another user's name", {"user": "ann"}, [rule("impersonate", "users", "", "ben")], "impersonate-on:user-info"),
    ("the user without the group", {"user": "ann", "group": "x"}, [rule("impersonate", "users")],
     "impersonate-on:user-info"),
    ("the narrow user without the narrow group", {"user": "ann", "group": "system:masters"}, [ON_USER, AS_USER],
     'cannot impersonate:user-info resource "groups" in API group "authentication.k8s.io"'),
    ("one value of an extra", {"user": "ann", "extra-a": "1\n2"},
     [rule("impersonate", "users"), rule("impersonate", "userextras/a", GROUP, "1")], "impersonate-on:user-info"),
    ("an account is not a user", {"user": ACCOUNT}, [rule("impersonate", "users")], "impersonate-on:serviceaccount"),
    ("a node's narrow right is its own", {"user": "system:node:n"}, [ON_USER, AS_USER],
     "impersonate-on:arbitrary-node"),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "rules", "message"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED])
def test_who_may_not_is_told_what_the_narrow_way_lacks(
    headers: dict[str, str], rules: list[Json], message: str
) -> None:
    with pytest.raises(Forbidden) as caught:
        attempt(headers, *rules)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({"group": "x\ny"}, 'UID:"", Groups:[]string{"x", "y"}, Extra:map[string][]string(nil)'),
        ({"uid": "u"}, 'UID:"u", Groups:[]string(nil), Extra:map[string][]string(nil)'),
        ({"extra-a": "1"}, 'UID:"", Groups:[]string(nil), Extra:map[string][]string{"a":[]string{"1"}}'),
    ],
)
def test_somebody_without_a_name_is_a_bad_request(headers: dict[str, str], shown: str) -> None:
    with pytest.raises(BadRequest) as caught:
        attempt(headers)
    wanted = f'&user.DefaultInfo{{Name:"", {shown}}}'
    assert caught.value.message == f"requested {wanted} without impersonating a user name"


def test_no_header_asks_for_nobody() -> None:
    assert parse_impersonation({"accept": "*/*"}) is None


def test_the_rights_of_the_impersonated_decide_the_request() -> None:
    async def conversation(ask: Conversation) -> None:
        headers = {"impersonate-user": "ann"}
        reply = await ask("GET", SERVICES, headers=headers)
        assert reply.status == 403 and 'User "ann" cannot list resource "services"' in reply.message
        whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        assert (await ask("POST", whoami, {}, headers=headers)).body["status"]["userInfo"]["username"] == "ann"

    talk(conversation)
