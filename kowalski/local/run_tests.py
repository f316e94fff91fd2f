"""./kowalski.py test: every test, by pytest, whose fixtures start and stop the services they need."""

import argparse
import os
import subprocess
import sys

from kowalski.config import ROOT

#: processes that share all the tests, file by file, each with services of its own; more would want more than 8 GB
MOST_PROCESSES = 4


def run(arguments: argparse.Namespace) -> int:
    """Run pytest with the arguments given, or all tests, as many files at a time as there are cores; its exit status."""
    environment = {key: value for key, value in os.environ.items() if not key.upper().startswith("KOWALSKI__")}
    environment.pop("KOWALSKI_CONFIG", None)
    all_tests = ["--numprocesses", str(min(os.cpu_count() or 1, MOST_PROCESSES)), "--dist", "loadfile"]
    command = [sys.executable, "-m", "pytest", "--rootdir", str(ROOT), *(arguments.arguments or all_tests)]
    return subprocess.call(command, cwd=ROOT, env=environment)
