"""The documents say what is so: settings, commands and options are explained, examples are valid, links lead somewhere."""

import argparse
import dataclasses
import importlib
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from kowalski.alerts.survey import Survey
from kowalski.config import ROOT, build, merge, settings_tree
from kowalski.documentation.commands import command_line

README = (ROOT / "README.md").read_text()
SURVEYS = (ROOT / "docs" / "surveys.md").read_text()
DEFAULTS = (ROOT / "config.defaults.yaml").read_text()
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *ROOT.glob("kubernetes/*.md"),
        *ROOT.glob("models/stand-ins/*.md"),
    ]
)
#: roots of paths that exist on somebody's machine only
MACHINE_PATH = re.compile(r"(?<![\w.:])/(?:work|farm|home|root|Users)/\w+")


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of one language in a document, those of lists too."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


# settings


def unexplained(node: yaml.MappingNode, path: tuple[str, ...] = (), covered: bool = False) -> Iterator[str]:
    """Settings without a comment on their own line or on that of a section around them."""
    lines = DEFAULTS.splitlines()
    for key, value in node.value:
        name = (*path, key.value)
        here = covered or re.search(r"\s# \S", lines[key.start_mark.line]) is not None
        if isinstance(value, yaml.MappingNode) and value.value and key.value != "<<":
            yield from unexplained(value, name, here)
        elif not here and key.value != "<<":
            yield ".".join(name)


def test_every_setting_is_explained() -> None:
    elsewhere = {
        r"\w+\.(\w+_)?password": "# null under a password means",
        r"dask_\w+\..*": "dask_<survey> for the others",
    }
    assert all(text in DEFAULTS for text in elsewhere.values())
    tree = yaml.compose(DEFAULTS)
    assert isinstance(tree, yaml.MappingNode)
    names = [name.removeprefix("kowalski.") for name in unexplained(tree)]
    assert [name for name in names if not any(re.fullmatch(pattern, name) for pattern in elsewhere)] == []


SETTINGS_SHOWN = {
    f"{document.stem}-{number}": block
    for document in DOCUMENTS
    for number, block in enumerate(blocks("yaml", document.read_text()))
    if block.startswith("kowalski:")
}


@pytest.mark.parametrize("block", SETTINGS_SHOWN.values(), ids=SETTINGS_SHOWN)
def test_settings_shown_are_valid(block: str) -> None:
    shown = yaml.safe_load(block)
    assert list(shown) == ["kowalski"]
    build(merge(settings_tree([], environment={}), shown["kowalski"]))


# commands


def test_the_first_two_commands() -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert commands[:2] == ["./kowalski.py demo", "./kowalski.py test"]


def test_every_command_stands_in_the_table() -> None:
    rows = re.findall(r"^\| `([\w-]+)[ `]", README, re.MULTILINE)
    assert [name for name in rows if name in command_line().COMMANDS] == list(command_line().COMMANDS)


def names_of(parser: argparse.ArgumentParser) -> Iterator[list[str]]:
    """The names of each of a command's options and arguments, those of its actions included."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from ([name] for name in action.choices)
            for further in action.choices.values():
                yield from names_of(further)
        elif action.help != argparse.SUPPRESS and action.dest != "help":
            yield list(action.option_strings) or [str(action.metavar or action.dest.upper())]


def test_every_option_stands_in_its_commands_row() -> None:
    for name, command in command_line().COMMANDS.items():
        if command.passes_through:
            continue
        row = next(line for line in README.splitlines() if re.match(rf"\| `{name}[ `]", line))
        parser = argparse.ArgumentParser(add_help=False)
        importlib.import_module(command.module).add_arguments(parser)
        names = names_of(parser)
        assert [each for each in names if not any(re.search(rf"[\[ |]{re.escape(one)}\b", row) for one in each)] == []


@pytest.mark.parametrize("tool", sorted((ROOT / "tools").glob("*.py")), ids=lambda path: path.name)
def test_every_tool_is_named(tool: Path) -> None:
    assert f"tools/{tool.name}" in (ROOT / "docs" / "commands.md").read_text()


# how to add something


def test_the_survey_shown_is_one() -> None:
    (block,) = (block for block in blocks("python", SURVEYS) if "SURVEY" in block)
    namespace = {"__name__": "page"}
    exec(block, namespace)
    survey: object = namespace["SURVEY"]
    assert isinstance(survey, Survey)
    assert survey.night_of("toy_20240101") == "20240101"


def test_every_attribute_of_a_survey_is_explained() -> None:
    assert [field.name for field in dataclasses.fields(Survey) if f"`{field.name}`" not in SURVEYS] == []


# other documents


def test_the_changelog_names_this_version() -> None:
    version = settings_tree([], environment={})["server"]["version"]
    assert re.search(rf"^#+ \[?{re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_licence_of_every_pinned_package_is_named() -> None:
    table = (ROOT / "docs" / "licences.md").read_text().split("## Python packages")[1]
    packages = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert packages
    named = set(re.findall(r"[\w.-]*\w", table))
    assert [package for package in packages if package not in named] == []


def anchors(document: Path) -> set[str]:
    """What a link can point to in a document, as GitHub names its headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("this is no git checkout")
    found = []
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content and (match := MACHINE_PATH.search(content.decode(errors="replace"))):
            found.append(f"{name}: {match[0]}")
    assert found == []


def test_hooks_need_nothing_from_elsewhere() -> None:
    settings = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {repository["repo"] for repository in settings["repos"]} == {"local"}


def test_every_package_is_for_all_pythons_that_may_start_it() -> None:
    """Debian's 3.11.2, too: a package that wants a later one can't be installed there."""
    pythons = [f"{major}.{minor}.0" for major, minor in (command_line().OLDEST, command_line().NEWEST)]
    pinned = {
        plain(name) for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    }
    wanted = {
        each.name: each.metadata.json.get("requires_python") for each in distributions() if plain(each.name) in pinned
    }
    assert len([each for each in wanted.values() if each]) > 100
    assert {
        name: one for name, one in wanted.items() if one and not all(map(SpecifierSet(one).contains, pythons))
    } == {}


def plain(name: str) -> str:
    """The name of a package as indexes have it."""
    return re.sub(r"[-_.]+", "-", name).lower()
