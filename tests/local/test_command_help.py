"""What the command line teaches: groups, the first commands, examples that are true, completion that is true, and errors with a next step."""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kowalski.config import ROOT
from kowalski.documentation.commands import command_line
from kowalski.local.completion import candidates
from kowalski.local.examples import EXAMPLES

SCRIPT = ROOT / "kowalski.py"
COMMANDS = list(command_line().COMMANDS)
#: what heavy work is done with; nothing of it is needed to say what a command may be given
HEAVY = ("numpy", "pymongo", "pydantic", "rich", "astropy", "distributed")


def said(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False, env=os.environ | environment, stdin=subprocess.DEVNULL
    )  # fmt: skip


# help


def test_the_first_three_come_first_and_every_command_stands_in_a_group() -> None:
    line = command_line()
    text = said("--help").stdout
    first = text.split("the first three:")[1].split("\n\n")[0]
    assert [row.split()[0] for row in first.strip().splitlines()] == list(line.FIRST)
    rest = text.split("the first three:")[1].split("\n\n", 1)[1]
    for name in COMMANDS:
        assert rest.count(f"\n  {name} ") == 1, name
    assert said().stdout == text == said("help").stdout


def test_every_group_names_commands_that_there_are() -> None:
    line = command_line()
    assert {name for names in line.GROUPS.values() for name in names} <= set(COMMANDS)
    assert set(line.FIRST) <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_it_takes(name: str) -> None:
    assert EXAMPLES.get(name), f"kowalski/local/examples.py has none of {name}"
    line = command_line()
    parser = line.parser_of(name)
    shown = " ".join(parser.format_help().split())
    for example, what in EXAMPLES[name]:
        assert " ".join(example.split()) in shown
        assert what in shown
        call = example.partition("$(")[2].partition(")")[0] or example
        program, command, *arguments = shlex.split(call.partition(" > ")[0])
        assert (program, command) == ("./kowalski.py", name)
        if not line.COMMANDS[name].passes_through:
            parser.parse_args(arguments)


def test_every_argument_says_what_it_is() -> None:
    from kowalski.documentation.commands import arguments_of

    unsaid = [
        f"{name} {shown}"
        for name in COMMANDS
        for shown, _, text in arguments_of(command_line().parser_of(name))
        if not text and shown.split()[-1] not in ("NAME", "FILE", "FILE.yaml")
    ]
    assert unsaid == []


def test_a_wrong_option_says_where_to_look() -> None:
    done = said("status", "--jsn")
    assert done.returncode == 2
    assert (
        done.stderr
        == "./kowalski.py status: unrecognized arguments: --jsn\n./kowalski.py status --help tells what there is\n"
    )


# completion


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions if action.help != argparse.SUPPRESS for name in action.option_strings}


def compare(parser: argparse.ArgumentParser, words: list[str]) -> None:
    """What Tab gives is what the parser takes, and so for each of its actions."""
    assert {word for word, _ in candidates([*words, "-"])} == options_of(parser), words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert {word for word, _ in candidates([*words, ""])} == set(action.choices), words
            for name, inner in action.choices.items():
                compare(inner, [*words, name])


@pytest.mark.parametrize("name", COMMANDS)
def test_completion_knows_what_each_command_takes(name: str) -> None:
    compare(command_line().parser_of(name), [name])


def test_completion_knows_commands_surveys_and_choices() -> None:
    assert [word for word, _ in candidates([""])] == COMMANDS
    assert [word for word, _ in candidates(["st"])] == ["status"]
    assert {"ZTF", "LSST", "WINTER"} <= {word for word, _ in candidates(["replay", ""])}
    assert [word for word, _ in candidates(["watchlist", "put", "mine", "--kind", ""])] == ["objects", "positions", "region"]  # fmt: skip
    assert candidates(["demo", "--alerts", ""]) == []  # a folder: the shell's own affair
    assert candidates(["status", "--json", "--j"]) == []
    assert candidates(["nonsense", ""]) == []


def test_completion_imports_nothing_heavy_and_needs_no_environment() -> None:
    code = f"""
import json, runpy, sys
sys.argv = ["kowalski.py", "completion", "--words", "quarantine", ""]
try:
    runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
except SystemExit as end:
    assert not end.code
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"], capture_output=True, text=True, check=True)  # fmt: skip
    *answers, modules = done.stdout.splitlines()
    assert [answer.split("\t")[0] for answer in answers] == ["list", "show", "replay", "discard"]
    assert {name.partition(".")[0] for name in json.loads(modules)} & set(HEAVY) == set()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("night st", ["start", "stop", "status"]), ("quar", ["quarantine"]), ("quarantine list --dis", ["--discarded"]), ("models --", ["--help", "--from"])],
)  # fmt: skip
def test_bash_completes(tmp_path: Path, typed: str, expected: list[str]) -> None:
    script = f"""
eval "$(./kowalski.py completion bash)"
complete -p kowalski.py > /dev/null
COMP_WORDS=(./kowalski.py {typed}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_kowalski
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_script(tmp_path: Path, shell: str) -> None:
    script = said("completion", shell).stdout
    assert "completion --words" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_without_a_shell_it_asks_for_which() -> None:
    done = said("completion")
    assert (done.returncode, done.stdout) == (2, "")
    assert "completion bash, zsh or fish" in done.stderr


# colours


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_no_colours_where_no_terminal_reads(environment: dict[str, str]) -> None:
    for arguments in (["--help"], ["status", "--help"], ["ledger", "--help"], ["night", "--help"]):
        done = said(*arguments, **environment)
        assert "\x1b[" not in done.stdout + done.stderr
