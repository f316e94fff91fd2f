"""./kowalski.py test: every test, by pytest, whose fixtures start and stop the services they need."""

import argparse
import os
import subprocess
import sys

from kowalski.config import ROOT


def run(arguments: argparse.Namespace) -> int:
    """Run pytest with the arguments given (none: all tests); its exit status."""
    environment = {key: value for key, value in os.environ.items() if not key.upper().startswith("KOWALSKI__")}
    environment.pop("KOWALSKI_CONFIG", None)
    command = [sys.executable, "-m", "pytest", "--rootdir", str(ROOT), *arguments.arguments]
    return subprocess.call(command, cwd=ROOT, env=environment)
