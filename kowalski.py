#!/usr/bin/env python3
"""The command line of Kowalski: an alert broker and archive for time-domain astronomy.

Any Python 3.11 to 3.13 starts it; on first use it makes .venv beside itself, installs requirements.txt there, and goes
on with that Python. So this file imports the standard library only, and is written so that a Python as old as 3.6 gets
far enough to be refused in words.
"""

import argparse
import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple, NoReturn

ROOT = os.path.dirname(os.path.realpath(__file__))
OLDEST, NEWEST = (3, 11), (3, 13)
#: GB that .venv takes, with pip's copies while it is made
DISK_GB = 5


class Command(NamedTuple):
    """One command: the module with its ``add_arguments(parser)`` and ``run(arguments)``, and what it is for."""

    module: str
    help: str
    #: all that follows goes to ``run`` as it is, in ``arguments.arguments``
    passes_through: bool = False
    #: it needs the database or the dask clusters: where there are containers it runs in one of them
    inside: bool = False
    #: it needs no package: it runs on whatever Python there is, without .venv
    bare: bool = False


COMMANDS = {
    "demo": Command("kowalski.local.demo", "a night of alerts through the whole chain, on this machine"),
    "test": Command(
        "kowalski.local.run_tests", "all tests with the services they need; takes pytest's arguments", True
    ),
    "build": Command("kowalski.local.build", "the images of docker-compose.yaml"),
    "up": Command("kowalski.local.up", "start everything as a service; returns when all of it is ready"),
    "down": Command("kowalski.local.down", "stop everything; data stay, unless --wipe"),
    "status": Command("kowalski.local.status", "what runs, and how it is doing"),
    "logs": Command("kowalski.local.logs", "what the programs say"),
    "seed": Command("kowalski.local.seed", "dumps restored into the database"),
    "ingest": Command("kowalski.local.ingest", "catalogues, matchfiles and tables put into the database by recipes"),
    "backup": Command("kowalski.local.backup", "the whole database in a folder, as of one point in time"),
    "restore": Command("kowalski.local.restore", "a backup put into an empty database"),
    "workers": Command("kowalski.local.workers", "work here for a survey's scheduler on another machine"),
    "certificates": Command("kowalski.local.certificates", "make what several machines' dask processes need for TLS"),
    "models": Command("kowalski.ml.fetch", "fetch the weights of the neural networks", inside=True),
    "replay": Command("kowalski.night.replay", "a night again", inside=True),
    "rematch": Command("kowalski.local.rematch", "stored objects matched anew with a catalogue", inside=True),
    "night": Command("kowalski.local.night", "nights from their topics to their reports", inside=True),
    "ledger": Command("kowalski.local.ledger", "a night's books: what became of every message", inside=True),
    "verify": Command(
        "kowalski.local.verify", "a stored alert made again of its packet, and what of it differs", inside=True
    ),
    "archive": Command("kowalski.local.archive", "packets as they were received: get one, list nights, close a night"),
    "quarantine": Command(
        "kowalski.local.quarantine", "packets that were refused: list, show, replay, discard", inside=True
    ),
    "tables": Command(
        "kowalski.local.tables", "alerts and light curves as Parquet: status, nights made whole", inside=True
    ),
    "outbox": Command("kowalski.local.outbox", "what waits to be sent, what was refused, and another try", inside=True),
    "filter": Command("kowalski.local.filter_files", "filters kept as files: validate, run, explain, push"),
    "watchlist": Command(
        "kowalski.local.watchlists", "lists of objects, positions and regions: put, list, show, delete"
    ),
    "schema": Command("kowalski.local.schema", "what packets have otherwise than their survey's own schema"),
    "new-survey": Command("kowalski.local.new_survey", "a survey's first module, settings and test, from a packet"),
    "migrate": Command("kowalski.local.migrate", "what a database of Kowalski 3 needs, and do it", inside=True),
    "benchmark": Command("benchmarks.chain", "measure the whole chain on this machine"),
    "docs": Command("kowalski.local.docs", "this documentation as a site, which the API serves at /docs"),
    "completion": Command(
        "kowalski.local.completion", "what makes a shell complete these commands by Tab", True, bare=True
    ),
}

#: what a newcomer needs, in this order
FIRST = ("demo", "up", "status")
#: what one wants to do -> the commands for it; a command that stands nowhere is shown at the end
GROUPS = {
    "run it": ("up", "down", "status", "logs", "build", "models"),
    "look after a night": ("night", "ledger", "verify", "quarantine", "outbox", "replay"),
    "put data in": ("ingest", "seed", "rematch", "migrate"),
    "keep data": ("backup", "restore", "archive", "tables"),
    "choose alerts": ("filter", "watchlist"),
    "use several machines": ("workers", "certificates"),
    "try it and develop it": ("demo", "test", "benchmark", "schema", "new-survey", "docs", "completion"),
}


def refusal(version: tuple, has_module: Callable = importlib.util.find_spec) -> str:
    """Why a Python can't make .venv, in one line; empty where it can."""
    major, minor = version[:2]
    if not OLDEST <= (major, minor) <= NEWEST:
        names = [f"python3.{number}" for number in range(NEWEST[1], OLDEST[1] - 1, -1)]
        here = next((name for name in names if shutil.which(name)), None)
        hint = f"run {here} kowalski.py" if here else "install one of them and run kowalski.py with it"
        return f"Python 3.11 to 3.13 is needed, this is {major}.{minor}: {hint}"
    for name in ("venv", "ensurepip"):
        if not has_module(name):
            package = f"python{major}.{minor}-venv"
            return f"this Python lacks {name}: on Debian and Ubuntu apt-get install {package}, or use another Python"
    return ""


class Environment:
    """The folder .venv with all packages: whole, or made anew."""

    def __init__(self, folder: str, requirements: str):
        self.folder = folder
        self.requirements = requirements
        self.python = os.path.join(folder, "bin", "python")
        self.stamp = os.path.join(folder, "requirements.sha256")
        #: is there while pip works: what an interrupted pip left can't be told from what is whole
        self.unfinished = os.path.join(folder, "unfinished")

    def is_whole(self) -> bool:
        """Whether it has exactly what requirements.txt asks for now."""
        if not (os.path.exists(self.python) and os.path.exists(self.stamp)):
            return False
        with open(self.stamp) as file:
            return file.read() == self.wanted()

    def wanted(self) -> str:
        """What tells one requirements.txt from another."""
        with open(self.requirements, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def make(self) -> None:
        """Make it whole, saying so; an error of pip ends the program with what pip said."""
        interrupted = os.path.exists(self.unfinished)
        if interrupted or not self._has_pip():
            import venv

            say("the last installation was interrupted: making .venv afresh" if interrupted else "making .venv")
            venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(self.folder)
        say("installing requirements.txt into .venv (the first time some 900 MB are fetched, 1 to 3 minutes)")
        wanted = self.wanted()
        with open(self.unfinished, "w"):
            pass
        self._install()
        with open(self.stamp, "w") as file:
            file.write(wanted)
        os.remove(self.unfinished)
        say("installed")

    def _has_pip(self) -> bool:
        if not os.path.exists(self.python):
            return False
        command = [self.python, "-m", "pip", "--version"]
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0

    def _install(self) -> None:
        command = [
            self.python,
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar=off",
        ]
        command += ["-r", self.requirements]
        pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        lines = []  # type: list[str]
        for line in pip.stdout or ():
            lines = [*lines[-20:], line]
            if line.startswith(("Collecting", "Downloading", "Installing")):
                show("  " + line.strip())
        show("")
        if pip.wait():
            sys.exit("".join(lines) + "kowalski: pip could not install requirements.txt, see above")


def say(line: str) -> None:
    """One line to the person at the terminal."""
    print(f"kowalski: {line}", file=sys.stderr, flush=True)


def show(line: str) -> None:
    """What is being done right now, in one line that the next one replaces; nothing where nobody watches."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + line[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()


def ensure_environment() -> None:
    """This process runs on .venv's Python, with all packages there; it is replaced by such a process if need be."""
    environment = Environment(os.path.join(ROOT, ".venv"), os.path.join(ROOT, "requirements.txt"))
    if not environment.is_whole():
        problem = refusal(sys.version_info)
        if not problem and shutil.disk_usage(ROOT).free < DISK_GB * 1024**3:
            problem = f"{ROOT} has less than {DISK_GB} GB of free disk, which .venv needs: make room"
        if problem:
            sys.exit(f"kowalski: {problem}")
        import fcntl

        with open(__file__) as lock:  # two first starts at once: the second waits for the first
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not environment.is_whole():
                environment.make()
    elif sys.prefix == environment.folder:
        return
    os.execv(environment.python, [environment.python, os.path.join(ROOT, "kowalski.py"), *sys.argv[1:]])


def overview() -> str:
    """All commands by what one wants to do; those that a newcomer needs come first."""

    def lines(names: tuple) -> list:
        return [f"  {name:12} {COMMANDS[name].help}" for name in names]

    grouped = {name for names in GROUPS.values() for name in names}
    groups = {**GROUPS, "more": tuple(name for name in COMMANDS if name not in grouped)}
    texts = ["the first three:", *lines(FIRST)]
    for heading, names in groups.items():
        if names:
            texts += ["", f"to {heading}:" if names in GROUPS.values() else f"{heading}:", *lines(names)]
    return "\n".join(
        [*texts, "", "./kowalski.py COMMAND --help tells more, with examples; all else stands in docs/ (README.md)"]
    )


class Parser(argparse.ArgumentParser):
    """A parser whose errors say what to do next."""

    def error(self, message: str) -> NoReturn:
        """The end of the program, in two lines: what is wrong, and what there is instead."""
        self.exit(2, f"{self.prog}: {message}\n{self.prog} --help tells what there is\n")


def parse(arguments: list) -> argparse.Namespace:
    """The command of a command line, and what follows it; the end of the program where there is no such command."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        about = str(__doc__).splitlines()[0]
        print(f"{about}\n\n./kowalski.py COMMAND ...\n\n{overview()}")
        sys.exit(0)
    name = arguments[0]
    if name not in COMMANDS:
        print(
            f"./kowalski.py: there is no command {name}{meant(name)}\n./kowalski.py --help has all of them",
            file=sys.stderr,
        )
        sys.exit(2)
    return argparse.Namespace(command=name, arguments=arguments[1:])


def meant(name: str) -> str:
    """A question after the command that looks most like a name; empty where none does."""
    import difflib

    known = {command.replace("-", ""): command for command in COMMANDS}
    like = difflib.get_close_matches(name.lower().replace("-", "").replace("_", ""), known, n=1, cutoff=0.6)
    return f": did you mean {known[like[0]]}?" if like else ""


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a command, with examples of it."""
    from kowalski.local.examples import examples_of

    parser = Parser(
        prog=f"./kowalski.py {name}",
        description=COMMANDS[name].help,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    importlib.import_module(COMMANDS[name].module).add_arguments(parser)
    parser.epilog = "\n\n".join(filter(None, (parser.epilog, examples_of(name))))
    return parser


def run(name: str, arguments: list) -> int:
    """Run a command; its exit status."""
    command = COMMANDS[name]
    module = importlib.import_module(command.module)
    if command.passes_through and arguments[:1] not in (["-h"], ["--help"]):
        return int(module.run(argparse.Namespace(arguments=arguments)))
    options = parser_of(name).parse_args(arguments)
    if command.inside:
        from kowalski.local import compose

        if compose.is_meant(local=False):
            return int(compose.inside(name, arguments))
    return int(module.run(options))


def main() -> int:
    """The command line: an error that Kowalski knows is one line, Ctrl-C is none."""
    try:
        chosen = parse(sys.argv[1:])
        if COMMANDS[chosen.command].bare:
            return run(chosen.command, chosen.arguments)
        ensure_environment()
        from kowalski.errors import KowalskiError

        try:
            return run(chosen.command, chosen.arguments)
        except KowalskiError as error:
            say(str(error))
            hint = getattr(error, "hint", "")
            if hint:
                say(hint)
            return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
