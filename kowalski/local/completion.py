"""./kowalski.py completion: what makes a shell complete commands, actions, options and surveys by Tab.

Each Tab asks for the words that may come next. They are read of the commands' sources: what a command declares is run with stand-ins for
all that its module imports, so that an answer takes a tenth of a second, with or without .venv.
"""

import argparse
import ast
import builtins
import os
import runpy
import sys
from collections.abc import Iterator
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

BASH = r"""_kowalski() {
    local IFS=$'\n' script="${COMP_WORDS[0]/#\~/$HOME}"
    COMPREPLY=($(compgen -W "$("$script" completion --words "${COMP_WORDS[@]:1:COMP_CWORD}" 2> /dev/null | cut -f 1)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _kowalski kowalski.py
"""
ZSH = r"""#compdef kowalski.py
_kowalski() {
    local script=${~words[1]} line
    local -a found
    for line in ${(f)"$($script completion --words "${(@)words[2,CURRENT]}" 2> /dev/null)"}; do
        found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    if (( $#found )); then _describe kowalski found; else _files; fi
}
if [[ $funcstack[1] == _kowalski.py ]]; then _kowalski "$@"; else compdef _kowalski kowalski.py; fi
"""
FISH = r"""function __kowalski
    set -l given (commandline -opc)
    set -l current (commandline -ct)
    set -l script (string replace -r '^~' $HOME -- $given[1])
    $script completion --words $given[2..-1] "$current" 2> /dev/null
end
complete -c kowalski.py -a '(__kowalski)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command, for its help only: `run` gets all words as they are, `--` too."""
    parser.add_argument("shell", choices=["bash", "zsh", "fish"], help="print what this shell has to read")
    parser.add_argument("--words", nargs="*", metavar="WORD", help="what may come in place of the last of these words; the shell asks that")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Print a shell's script, or what may come next, one a line with what it is."""
    given = arguments.arguments
    if given[:1] == ["--words"]:
        for word, text in candidates(given[1:]):
            print(f"{word}\t{text}")
        return 0
    if len(given) == 1 and given[0] in SCRIPTS:
        print(SCRIPTS[given[0]], end="")
        return 0
    print("for which shell? ./kowalski.py completion bash, zsh or fish", file=sys.stderr)
    return 2


class _Anything:
    """A stand-in for what a module imports: it may be called, asked for attributes, formatted and gone through, and is empty."""

    def __call__(self, *args: Any, **kwargs: Any) -> "_Anything":
        return self

    def __getattr__(self, name: str) -> "_Anything":
        return self

    def __getitem__(self, key: Any) -> "_Anything":
        return self

    def __truediv__(self, other: Any) -> "_Anything":
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __contains__(self, value: object) -> bool:
        return True

    def __len__(self) -> int:
        return 1

    def __lt__(self, other: object) -> bool:
        return True

    def __str__(self) -> str:
        return ""

    def __format__(self, how: str) -> str:
        return ""


class _Names(dict[str, Any]):
    """The names of a module, with stand-ins for those that it doesn't make itself."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, None) or _Anything()


def declared(module: str, parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser, with what a module's ``add_arguments`` declares; nothing of the module is imported."""
    path = os.path.join(ROOT, *module.split(".")) + ".py"
    with open(path) as file:
        tree = ast.parse(file.read())
    names = _Names(argparse=argparse, __doc__=ast.get_docstring(tree) or "", __name__=module)
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.Assign | ast.AnnAssign):
            statement.decorator_list = []  # type: ignore[union-attr]
            try:
                exec(compile(ast.Module([statement], []), path, "exec"), names)  # nosec B102  # our own source
            except Exception:  # nosec B112  # a constant that needs what is not imported: a stand-in takes its place
                continue
    names["add_arguments"](parser)
    return parser


def candidates(words: list[str]) -> list[tuple[str, str]]:
    """What may come in place of the last word, each with what it is; nothing where it is a file or a free text."""
    commands = runpy.run_path(os.path.join(ROOT, "kowalski.py"))["COMMANDS"]
    *before, current = words or [""]
    if not before:
        found = [(name, command.help) for name, command in commands.items()]
    elif before[0] not in commands:
        found = []
    else:
        found = list(_next(declared(commands[before[0]].module, argparse.ArgumentParser()), before[1:], current))
    return [(word, text.replace("\n", " ")) for word, text in found if word.startswith(current)]


def _next(parser: argparse.ArgumentParser, before: list[str], current: str) -> Iterator[tuple[str, str]]:
    last = None  # the option whose value comes now
    given = 0
    for word in before:
        actions = next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)
        if last is not None:
            last = None
        elif word.startswith("-"):
            option = parser._option_string_actions.get(word)
            last = option if option is not None and option.nargs != 0 else None
        elif actions is not None and word in actions.choices:
            parser, given = actions.choices[word], 0
        else:
            given += 1
    if last is not None:
        yield from _values(last)
    elif current.startswith("-"):
        for name, option in parser._option_string_actions.items():
            if name not in before and option.help != argparse.SUPPRESS:
                yield name, option.help or ""
    else:
        positionals = [action for action in parser._actions if not action.option_strings]
        for action in positionals[given : given + 1]:
            yield from _values(action)


def _values(action: argparse.Action) -> Iterator[tuple[str, str]]:
    if isinstance(action, argparse._SubParsersAction):
        helps = {each.dest: each.help or "" for each in action._choices_actions}
        yield from ((name, helps.get(name, "")) for name in action.choices)
    elif action.dest == "survey":
        names = sorted(os.listdir(os.path.join(ROOT, "kowalski")))
        modules = (name[len("alert_broker_") : -len(".py")] for name in names if name.startswith("alert_broker_"))
        yield from ((name.upper(), "survey") for name in modules)
    elif action.choices is not None:
        yield from ((str(choice), "") for choice in action.choices)
