"""./kowalski.py test: every test, by pytest, whose fixtures start and stop the services they need.

Where there is a docker-compose.yaml the tests run in its containers, against their MongoDB and Kafka.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kowalski.config import ROOT
from kowalski.local import compose

#: processes that share all the tests, file by file, each with services of its own; more would want more than 8 GB
MOST_PROCESSES = 4
#: what runs in which container: each has the packages of its own programs. What starts a whole system runs outside only.
IN_CONTAINERS = {
    "ingester": ("alerts", "crossmatch", "database", "filters", "ml", "outbox", "simulation", "skyportal", "surveys", "worker"),
    "api": ("api", "skymaps"),
}  # fmt: skip
#: folders of real data that the environment names
DATA = ("KOWALSKI_TEST_DATA", "KOWALSKI_TEST_MODELS")
#: tests that run for hours, in one process without pytest: option -> the module that all other arguments go to
LONG = {
    "--faults": "faults.rounds",
    "--soak": "faults.soak",
    "--fuzz": "tests.fuzz",
    "--night": "conduct.whole",
    "--browser": "walk",
}
#: and what each of them does
LONG_HELP = {
    "--faults": "hurt a whole system again and again while a night streams through it",
    "--soak": "stream for an hour, and look whether anything grows",
    "--fuzz": "feed what reads others' files with nonsense",
    "--night": "conduct a whole night, and report on it",
    "--browser": "look at every page of the lab, on an archive of many alerts",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command, for its help only: all that it is given goes to `run` as it is."""
    parser.add_argument("--local", action="store_true", help="here, even where there is a docker-compose.yaml")
    parser.add_argument("--deploy", action="store_true", help="the long tests of containers and of several hosts")
    parser.add_argument("--long", action="store_true", help="the long forms of tests whose short ones always run")
    for option, what in LONG_HELP.items():
        parser.add_argument(option, action="store_true", help=f"{what}; {option} --help tells its own options")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="all else goes to pytest: tests/ml -x")


def run(arguments: argparse.Namespace) -> int:
    """Run pytest with the arguments given, or all tests; its exit status.

    ``--local``: here, even where there are containers; ``--deploy``: the tests that build images, start containers and
    several hosts, and take their time; ``--long``: those whose short form is among all. The options of `LONG`: tests that go on for hours.
    """
    own = ("--local", "--deploy", "--long")
    given = [argument for argument in arguments.arguments if argument not in own]
    local, deploy, long = (option in arguments.arguments for option in own)
    if compose.is_meant(local or deploy or long):
        return _in_containers(given)
    environment = {key: value for key, value in os.environ.items() if not key.upper().startswith("KOWALSKI__")}
    environment.pop("KOWALSKI_CONFIG", None)
    for option, module in LONG.items():
        if option in given:
            return _long_form(module, [argument for argument in given if argument != option], environment)
    if deploy:
        given = ["-m", "deploy", *(given or ["tests/deploy"])]
    if long:
        given = ["-m", "long", *given]
    all_tests = [
        "--numprocesses",
        str(min((os.cpu_count() or 1) + 1, MOST_PROCESSES)),  # each waits for something a third of the time
        "--dist",
        "loadfile",
        "--no-loadscope-reorder",
    ]
    command = [sys.executable, "-m", "pytest", "--rootdir", str(ROOT), *(given or all_tests)]
    return subprocess.call(command, cwd=ROOT, env=environment)


def _long_form(module: str, arguments: list[str], environment: dict[str, str]) -> int:
    """Run a module of tests/ as a program; its exit status."""
    path = os.pathsep.join(str(ROOT / folder) for folder in ("", "tests", "tests/api", "tests/lab"))
    return subprocess.call([sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment | {"PYTHONPATH": path})


def _in_containers(given: list[str]) -> int:
    """All tests in the containers that run, or those given in the ingester's; 0 if all pass."""
    statuses = []
    for service, folders in {"ingester": ()}.items() if given else IN_CONTAINERS.items():
        print(f"in {service}:", flush=True)
        with _data_in(service) as variables:
            options = [f"--env={name}={value}" for name, value in variables.items()]
            command = ["python", "-m", "pytest", "-p", "no:cacheprovider", "-q"]
            tests = given or [f"tests/{folder}" for folder in folders]
            statuses.append(compose.compose("exec", "-T", *options, service, *command, *tests))
    return max(statuses)


@contextmanager
def _data_in(service: str) -> Iterator[dict[str, str]]:
    """The folders that the environment names, copied into a container for as long as the tests run; variables that name them."""
    named = {variable: folder for variable in DATA if (folder := os.environ.get(variable))}
    with compose.copied(service, list(named.values())) as paths:
        yield dict(zip(named, paths, strict=True))
