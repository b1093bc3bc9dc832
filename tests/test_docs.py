"""The pages say what is there: verbs, flags, examples, links, metrics and errors, each compared with its source."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import click
import pytest

from seaway.cli import VERBS, group
from tests.apiserver.conversation import Conversation, talk

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CODE = ROOT / "src" / "seaway"
COMPONENTS = ("apiserver", "app", "client", "controllers", "dns", "node", "proxy", "store")
# Described where they are used: values and rules, not something that runs.
WITHOUT_PAGE = frozenset(("api", "cli", "net", "pki", "telemetry", "testing"))
SECTIONS = ("Name", "Description", "Configuration", "Metrics", "Readiness", "Limits", "Examples")
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md"), *(CODE / name / "README.md" for name in COMPONENTS)])
REFERENCE = DOCS / "reference" / "cli.md"


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find_command(verb: str) -> click.Command:
    command = group.get_command(click.Context(group), verb)
    assert command is not None
    return command


OPTIONS = [(verb, option) for verb in VERBS for option in find_command(verb).params if isinstance(option, click.Option)]


# The command line.


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does(verb: str) -> None:
    assert VERBS[verb].endswith(".")
    assert (find_command(verb).help or "").strip()


def test_every_module_of_the_command_line_is_a_verb() -> None:
    modules = {path.stem for path in (CODE / "cli").glob("*.py")} - {"__init__", "flags"}
    assert modules == set(VERBS)


@pytest.mark.parametrize(("verb", "option"), OPTIONS, ids=[f"{verb} {option.opts[0]}" for verb, option in OPTIONS])
def test_every_flag_has_help_and_is_in_the_reference(verb: str, option: click.Option) -> None:
    assert option.help
    section = REFERENCE.read_text().split(f"\n## seaway {verb}\n")[1].split("\n## ")[0]
    assert f"  {option.opts[0]}" in section or f", {option.opts[0]}" in section


def test_the_reference_is_fresh() -> None:
    made = load_tool("make_cli_reference").render_reference()
    assert made == REFERENCE.read_text(), "run: python tools/make_cli_reference.py > docs/reference/cli.md"


# Examples.


@pytest.mark.parametrize("manifest", sorted(path.name for path in (ROOT / "examples").glob("*.yaml")))
def test_every_example_is_explained(manifest: str) -> None:
    assert f"`{manifest}`" in (DOCS / "services.md").read_text()


def test_only_examples_that_exist_are_explained() -> None:
    named = re.findall(r"`(\d\d-[\w-]+\.yaml)`", (DOCS / "services.md").read_text())
    assert {name for name in named if not (ROOT / "examples" / name).exists()} == set()


# Links.


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    local = [target for target in targets if target and "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_path_of_the_tree_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`((?:src|tests|docs|examples|tools|bench|changes)/[\w./-]*)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


# Pages of components.


def test_every_component_is_known_here() -> None:
    folders = {path.name for path in CODE.iterdir() if (path / "__init__.py").exists()}
    assert folders == {*COMPONENTS, *WITHOUT_PAGE}


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_components_page_has_the_sections_in_order(component: str) -> None:
    headings = re.findall(r"^## (.+)$", (CODE / component / "README.md").read_text(), re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS] == list(SECTIONS)


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_module_that_a_components_page_names_exists(component: str) -> None:
    folder = CODE / component
    named = set(re.findall(r"`([\w/]+\.py)`", (folder / "README.md").read_text()))
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    # A bare name may stand for one that several folders have, like plan.py.
    known = files | {name.rsplit("/", 1)[-1] for name in files}
    assert {name for name in named if name not in known and not (CODE / name).exists()} == set()


def test_the_metrics_on_the_api_servers_page_are_those_that_it_serves() -> None:
    names: set[str] = set()

    async def conversation(ask: Conversation) -> None:
        text = (await ask("GET", "/metrics")).text.decode()
        names.update(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))

    talk(conversation)
    page = (CODE / "apiserver" / "README.md").read_text().split("## Metrics")[1].split("## ")[0]
    documented = re.findall(r"`(\w+)`", page)
    assert sorted(documented) == sorted(names)
    assert len(names) > 50


# Errors.


def collect_texts() -> str:
    """Every text of the code, one a line; an f-string by the parts between its values."""
    texts: list[str] = []
    for path in CODE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


TEXTS = collect_texts()
ERRORS = re.findall(r"\*\*`([^`]+)`\*\*", (DOCS / "troubleshooting.md").read_text())


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_that_is_explained_is_one_that_the_code_prints(error: str) -> None:
    parts = [part for text in error.split("…") if (part := text.strip(" :;,"))]
    assert parts
    assert [part for part in parts if part not in TEXTS] == []


def test_errors_are_explained() -> None:
    assert len(ERRORS) > 20
