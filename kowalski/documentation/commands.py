"""Every command of ./kowalski.py: its arguments and options, and examples."""

import argparse
import importlib.util
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from kowalski.config import ROOT
from kowalski.documentation.tables import code, table
from kowalski.local.examples import EXAMPLES


@cache
def command_line() -> ModuleType:
    """The script kowalski.py, which has the package's name, as a module; its commands stand in ``COMMANDS``."""
    spec = importlib.util.spec_from_file_location("kowalski_command_line", ROOT / "kowalski.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments_of(parser: argparse.ArgumentParser, before: str = "") -> Iterator[tuple[str, str, str]]:
    """Arguments and options of a parser, those of its actions after them: each as it is given, its default, its help."""
    further = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            further += [(name, inner, helps.get(name, "")) for name, inner in action.choices.items()]
        elif action.help != argparse.SUPPRESS and action.dest != "help":
            yield f"{before}{_shown(action)}", _default(action), (action.help or "").replace("%%", "%")
    for name, inner, text in further:
        yield f"{before}{name}", "", text or inner.description or ""
        yield from arguments_of(inner, f"{before}{name} ")


def _shown(action: argparse.Action) -> str:
    value = action.metavar or (action.choices and "|".join(map(str, action.choices))) or action.dest.upper()
    if isinstance(value, tuple):
        value = " ".join(value)
    if not action.option_strings:
        return str(value)
    return ", ".join(action.option_strings) + (f" {value}" if action.nargs != 0 else "")


def _default(action: argparse.Action) -> str:
    return "" if action.default in (None, False, [], argparse.SUPPRESS) else str(action.default)


def commands_reference() -> str:
    """A section for each command, by what one wants to do."""
    line = command_line()
    grouped = {name for names in line.GROUPS.values() for name in names}
    groups = {**line.GROUPS, "more": tuple(name for name in line.COMMANDS if name not in grouped)}
    texts = []
    for heading, names in groups.items():
        if names:
            texts += [f"## {heading.capitalize()}\n", *map(_section, names)]
    return "\n".join(texts)


def _section(name: str) -> str:
    line = command_line()
    rows = [(code(shown), code(default), text) for shown, default, text in arguments_of(line.parser_of(name))]
    text = f"### `{name}`\n\n{line.COMMANDS[name].help.capitalize()}.\n\n"
    if rows:
        text += table(("argument", "default", "what it says"), rows) + "\n"
    examples = "\n".join(f"{command}    # {what}" for command, what in EXAMPLES.get(name, ()))
    return f"{text}```sh\n{examples}\n```\n" if examples else text
