"""What the pages show is so: each command line is one that its command or tool takes, each file is there, each program is Python.

The examples that need a running system are run by the tests of their rooms: `RUN_BY` says which.
"""

import argparse
import ast
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from kowalski.config import ROOT
from kowalski.documentation.commands import command_line
from kowalski.documentation.pages import DOCS, ELSEWHERE

DOCUMENTS = sorted({*DOCS.glob("*.md"), *(ROOT / name for name in ELSEWHERE)})
#: pages whose programs for Python and the shell are run as they stand there -> the test that runs them
RUN_BY = {
    "api.md": "tests/api/test_api_page.py",
    "astronomers.md": "tests/api/test_api_page.py",
    "quickstart.md": "tests/api/test_api_page.py",
    "filters.md": "tests/chain/test_filter_page.py",
    "watchlists.md": "tests/api/test_filters_with_watchlists.py",
    "streams.md": "tests/outbox/test_streams.py",
    "surveys.md": "tests/local/test_new_survey.py",
    "archives.md": "tests/local/test_commands.py",
    "backups.md": "tests/local/test_commands.py",
    "operators.md": "tests/local/test_commands.py",
}
#: programs that take no arguments
WITHOUT = {"kowalski.api", "kowalski.outbox", "kowalski.archive.tables", "kowalski.watchers.gcn"}
#: what follows a command and is none of its arguments
BEHIND = re.compile(r"\s#\s.*|\s*(?:&&|\|\||[;|<>]).*")


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks of some languages."""
    return re.findall(rf"^ *```(?:{'|'.join(languages)})\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def command_lines(text: str, program: str = "./kowalski.py") -> Iterator[str]:
    """Whatever a document tells to type that begins with a program's name, in blocks of code."""
    for block in blocks(text, "sh", "text", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for found in re.split(rf"(?={re.escape(program)} )", line)[1:]:
                said = BEHIND.sub("", found).strip()
                yield said if said.count('"') % 2 == 0 else said.rpartition('"')[0].rstrip(")")


def written(*program: str) -> list[tuple[str, str]]:
    """Document and line of each."""
    return list(dict.fromkeys((each.name, line) for each in DOCUMENTS for line in command_lines(each.read_text(), *program)))  # fmt: skip


LINES = written()
OF_PYTHON = written(".venv/bin/python")


def test_there_is_something_to_look_at() -> None:
    assert len(LINES) > 60
    assert {line.split()[1] for _, line in LINES} > {"demo", "up", "replay", "quarantine", "backup"}


@pytest.mark.parametrize(("document", "line"), LINES, ids=[f"{document}: {line}" for document, line in LINES])
def test_each_command_line_is_one_that_its_command_takes(document: str, line: str) -> None:
    _, name, *arguments = shlex.split(line)
    assert name in command_line().COMMANDS, document
    if command_line().COMMANDS[name].passes_through or "--help" in arguments:
        return
    numbers = {"N": "1", "FID": "1", "KEY": "topic:0:1", "NIGHT": "20240301", "DATE": "20240301", "CANDID": "1"}
    command_line().parser_of(name).parse_args([numbers.get(word, word) for word in arguments])


class Taken(Exception):
    """The arguments are understood."""


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")  # tests have imported it
@pytest.mark.parametrize(("document", "line"), OF_PYTHON, ids=[f"{document}: {line}" for document, line in OF_PYTHON])
def test_each_tool_and_module_takes_what_it_is_given(document: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is run until it has read its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> NoReturn:
        parse(parser, args, namespace)
        raise Taken

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    _, *words = shlex.split(re.sub(r"\$\(.*?\)", "20240301", line))
    if words[:2] == ["-m", "pip"] or "toy" in words:  # the survey that the page on surveys makes
        return
    module = words[1] if words[0] == "-m" else ""
    arguments = words[2:] if module else words[1:]
    if module in WITHOUT:
        assert arguments == []
        return
    monkeypatch.setattr(sys, "argv", [words[0], *arguments])
    with pytest.raises(Taken):
        _run(module or str(ROOT / words[0]), bool(module))


def _run(program: str, is_module: bool) -> None:
    """Run a module or a file as the command line would; its help is as good as arguments that are taken."""
    try:
        if is_module:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if end.code == 0:
            raise Taken from None
        raise


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_program_is_python(document: Path) -> None:
    for block in blocks(document.read_text(), "python"):
        ast.parse(block)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_tools_modules_and_files_that_are_named_exist(document: Path) -> None:
    text = re.sub(
        r"--(?:plot|report|json|out|output) \S+", "", document.read_text()
    )  # what is written is not there yet
    absent = [
        name
        for name in re.findall(
            r"\b((?:tools|tests|kowalski|benchmarks|docs|models/stand-ins)/[\w/.-]*\w(?:\.\w+)?)", text
        )
        if not any((root / name).exists() for root in (ROOT, ROOT / "kowalski"))
        and not re.search(r"toy|<|my|_$|soak\.svg", name)
        and not re.fullmatch(r"(?:docs|kowalski)/(?:api|db|packets|account\.json)(?:/.*)?", name)
    ]
    absent += [
        f"-m {module}"
        for module in re.findall(r"python -m ((?:kowalski|benchmarks)[\w.]*\w)", text)
        if "toy" not in module
        and not any((ROOT / Path(*module.split("."))).with_suffix(end).exists() for end in ("", ".py"))
    ]
    assert absent == []


def test_what_runs_the_examples_is_there() -> None:
    for page, test in RUN_BY.items():
        assert blocks((DOCS / page).read_text(), "sh", "python")
        assert page in (ROOT / test).read_text()


def test_every_program_is_run() -> None:
    """Of more than three lines: a test names its page."""
    tests = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    for path in DOCS.glob("*.md"):
        if any(len(block.splitlines()) > 3 for block in blocks(path.read_text(), "python")):
            assert any(f'"{path.name}"' in test or f"docs/{path.name}" in test for test in tests), path.name
