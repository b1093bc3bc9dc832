"""Makes `docs/reference/cli.md` from the help of every verb.

    python tools/make_cli_reference.py > docs/reference/cli.md

The width is fixed and the environment is not read, so the page is the same wherever it is made.
"""

from __future__ import annotations

import click

from seaway.cli import VERBS, group

WIDTH = 100
PREFACE = """\
# The command line

Made by `tools/make_cli_reference.py` from `--help`; do not edit.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
`SEAWAY_DATA_DIR` stands in for `--data-dir`, and `KUBECONFIG` for `--kubeconfig`.
"""


def find_command(verb: str) -> click.Command:
    """The command of a verb. Raises KeyError."""
    with click.Context(group, info_name="seaway") as context:
        command = group.get_command(context, verb)
    if command is None:
        raise KeyError(verb)
    for each in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
        each._help_option = None  # kept from an earlier call, which may not have come by way of `seaway`
    return command


def render_help(verb: str = "") -> str:
    """What `seaway VERB --help` prints; of `seaway --help` without a verb. "a b" is the verb b of the verb a."""
    settings = {**group.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    with click.Context(group, info_name="seaway", **settings) as parent:
        if not verb:
            return group.get_help(parent)
        first, _, rest = verb.partition(" ")
        command = find_command(first)
        with click.Context(command, info_name=first, parent=parent, **command.context_settings) as context:
            if not rest:
                return command.get_help(context)
            assert isinstance(command, click.Group)
            inner = command.commands[rest]
            with click.Context(inner, info_name=rest, parent=context, **inner.context_settings) as innermost:
                return inner.get_help(innermost)


def list_verbs() -> list[str]:
    """Every verb, and after a verb those that it has of its own."""
    verbs: list[str] = []
    for verb in VERBS:
        command = find_command(verb)
        own = command.commands if isinstance(command, click.Group) else {}
        verbs += [verb, *(f"{verb} {name}" for name in own)]
    return verbs


def render_reference() -> str:
    """The whole page."""
    sections = [f"## seaway\n\n```\n{render_help()}\n```\n"]
    sections += [f"## seaway {verb}\n\n```\n{render_help(verb)}\n```\n" for verb in list_verbs()]
    return "\n".join((PREFACE, *sections))


if __name__ == "__main__":
    print(render_reference(), end="")
