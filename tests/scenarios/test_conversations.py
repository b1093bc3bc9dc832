"""Golden conversations (`*.txt`): what the control loops do, command by command, as their files say.

`pytest tests/scenarios/test_conversations.py --rewrite` writes the outcomes anew. Review the diff: it is the change.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seaway.controllers.run import LOOPS
from tests.scenarios.conversation import (
    Command,
    Prose,
    parse_conversation,
    parse_span,
    render_conversation,
    squeeze,
)
from tests.scenarios.naming import Names
from tests.scenarios.stage import find_forbidden, hold

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem.replace("-", " "))
def test_the_conversation_goes_as_written(path: Path, request: pytest.FixtureRequest) -> None:
    before = path.read_text("utf-8")
    after = render_conversation(hold(parse_conversation(before)))
    if request.config.getoption("--rewrite"):
        path.write_text(after, "utf-8")
        return
    assert after.splitlines() == before.splitlines()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem.replace("-", " "))
def test_a_loop_on_its_own_needs_no_more_than_its_roles(path: Path) -> None:
    """Rule: spec "controllers" §0.5."""
    assert sorted(find_forbidden(parse_conversation(path.read_text("utf-8")))) == []


def test_the_roles_of_each_loop_are_tried() -> None:
    texts = "\n".join(path.read_text("utf-8") for path in FILES)
    tried = {
        loop for line in re.findall(r"^> start controllers.*: (.+)$", texts, re.MULTILINE) for loop in line.split()
    }
    assert set(LOOPS) - tried == {"healthcheck", "nodeipam"}, "the first has a stage of its own, the second one role"


def test_there_are_conversations() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_text_is_what_its_parts_say(path: Path) -> None:
    text = path.read_text("utf-8")
    assert render_conversation(parse_conversation(text)) == text


def test_a_command_has_its_input_and_its_outcome() -> None:
    text = '# Rule: spec "x" §1.\n\nA rule.\n> create\n| kind: Service\n> pods\n  none\n'
    assert parse_conversation(text)[2:] == [
        Prose("A rule."),
        Command(4, "create", ("kind: Service",)),
        Command(6, "pods", (), ("none",)),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("> pods\n", "no opening comment"),
        ("# Rule: common sense.\n> pods\n", "no opening comment"),
        ('# Rule: spec "x" §1.\n  none\n', "a command above it wanted"),
    ],
    ids=["a file cites no rule", "a rule has a source", "an outcome has a command"],
)
def test_a_text_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_conversation(text)


def test_an_unknown_command_is_named_with_its_line() -> None:
    with pytest.raises(ValueError, match="line 2: 'dance'"):
        hold(parse_conversation('# Rule: spec "x" §1.\n> dance\n'))


def test_a_wrong_outcome_is_put_right() -> None:
    told = hold(parse_conversation('# Rule: spec "x" §1.\n> pods\n  a hundred\n'))
    assert told[1] == Command(2, "pods", (), ("none",))


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("10s", 10.0), ("5m", 300.0), ("2d", 172_800.0)])
def test_times_have_units(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


def test_equal_lines_in_a_row_are_one() -> None:
    assert squeeze("aabac") == ["a (x2)", "b", "a", "c"]


def test_made_up_names_are_numbered_as_they_come() -> None:
    names = Names()
    for name in ("web-x7k2p", "web-b4q9z", "web-x7k2p"):
        names.learn("EndpointSlice", name, "web-")
    assert names.tidy("web-b4q9z after web-x7k2p at 2026-01-01T00:00:00Z") == "web-*2 after web-*1 at TIME"
    assert names.resolve("web-*2") == "web-b4q9z"
