"""The command line before there is anything but a Python."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kowalski.config import ROOT
from kowalski.documentation.commands import command_line

SCRIPT = ROOT / "kowalski.py"


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    """kowalski.py as a module (its name is that of the package too)."""
    return command_line()


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 10, 13), (3, 14, 0), (4, 0, 0)])
def test_other_pythons_are_refused_with_what_to_do(bootstrap: ModuleType, version: tuple[int, ...]) -> None:
    text = bootstrap.refusal(version)
    assert f"this is {version[0]}.{version[1]}" in text
    assert "3.11 to 3.13" in text


def test_an_old_python_reads_it_far_enough_to_be_refused() -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 5), (3, 13, 9)])
def test_right_pythons_are_taken(bootstrap: ModuleType, version: tuple[int, ...]) -> None:
    assert bootstrap.refusal(version) == ""


def test_python_without_ensurepip_is_refused_with_the_package_to_install(bootstrap: ModuleType) -> None:
    text = bootstrap.refusal((3, 12, 1), lambda name: name != "ensurepip")
    assert "lacks ensurepip" in text
    assert "apt-get install python3.12-venv" in text


def test_help_needs_the_standard_library_only() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", SCRIPT, "--help"], capture_output=True, text=True, check=True)
    for command in ("demo", "test", "up", "down", "status", "logs", "models", "replay", "benchmark"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize(
    ("given", "meant"),
    [("upp", "up"), ("stauts", "status"), ("newsurvey", "new-survey"), ("back_up", "backup"), ("Ledger", "ledger"), ("quarantaine", "quarantine")],
)  # fmt: skip
def test_an_unknown_command_is_refused_with_what_was_meant(given: str, meant: str) -> None:
    done = subprocess.run([sys.executable, "-I", "-S", SCRIPT, given], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"there is no command {given}: did you mean {meant}?\n" in done.stderr
    assert "./kowalski.py --help has all of them" in done.stderr


def test_what_looks_like_no_command_gets_no_guess() -> None:
    for given in ("xyzzy", "--json"):
        done = subprocess.run([sys.executable, SCRIPT, given], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith(f"./kowalski.py: there is no command {given}\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the command line, one command that prints its Python, and no packages to install."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "kowalski.py").write_bytes(SCRIPT.read_bytes())
    (folder / "requirements.txt").write_text("# nothing\n")
    package = folder / "kowalski"
    for module, text in {
        "__init__": "",
        "errors": "class KowalskiError(Exception): pass\n",
        "local/__init__": "",
        "local/status": (
            "import sys\nfrom kowalski.errors import KowalskiError\n"
            "def add_arguments(parser): parser.add_argument('--fail')\n"
            "def run(arguments):\n"
            "    if arguments.fail == 'key': raise KeyboardInterrupt\n"
            "    if arguments.fail: raise KowalskiError('no ' + arguments.fail)\n"
            "    print(sys.prefix); return 3\n"
        ),
        "local/examples": (ROOT / "kowalski" / "local" / "examples.py").read_text(),
        "local/run_tests": "def run(arguments): print(arguments.arguments); return 0\n",
    }.items():
        path = package / f"{module}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [sys.executable, folder / "kowalski.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_first_use_makes_an_environment_and_says_so(folder: Path) -> None:
    done = command(folder, "status")
    assert (done.returncode, done.stdout.strip()) == (3, str(folder / ".venv"))
    assert "making .venv" in done.stderr
    assert "installing requirements.txt" in done.stderr


def test_later_uses_are_silent(folder: Path) -> None:
    done = command(folder, "status")
    assert (done.returncode, done.stderr) == (3, "")


def test_changed_requirements_are_installed(folder: Path) -> None:
    (folder / "requirements.txt").write_text("# still nothing\n")
    done = command(folder, "status")
    assert "making" not in done.stderr
    assert "installing requirements.txt" in done.stderr
    assert command(folder, "status").stderr == ""


def test_interrupted_installation_is_made_afresh(folder: Path) -> None:
    leftover = folder / ".venv" / "lib" / "half.py"
    leftover.touch()
    (folder / ".venv" / "unfinished").touch()
    (folder / ".venv" / "requirements.sha256").unlink()
    assert "interrupted" in command(folder, "status").stderr
    assert not leftover.exists()
    assert command(folder, "status").stderr == ""


def test_failed_installation_shows_what_pip_said_and_is_tried_again(folder: Path) -> None:
    whole = (folder / "requirements.txt").read_text()
    (folder / "requirements.txt").write_text("./missing.whl\n")
    done = command(folder, "status")
    assert done.returncode == 1
    assert "missing.whl" in done.stderr
    assert "pip could not install" in done.stderr
    (folder / "requirements.txt").write_text(whole)
    assert command(folder, "status").returncode == 3


def test_errors_are_one_line(folder: Path) -> None:
    done = command(folder, "status", "--fail", "disk")
    assert (done.returncode, done.stderr) == (1, "kowalski: no disk\n")


def test_interruption_is_quiet(folder: Path) -> None:
    done = command(folder, "status", "--fail", "key")
    assert (done.returncode, done.stderr) == (130, "")


def test_arguments_of_test_pass_through(folder: Path) -> None:
    done = command(folder, "test", "-x", "-k", "a b", "--help", "tests/local")
    assert done.stdout.strip() == "['-x', '-k', 'a b', '--help', 'tests/local']"
