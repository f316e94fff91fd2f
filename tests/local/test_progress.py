"""What takes time is seen at a terminal, in colours unless somebody says otherwise, and leaves nothing in files; errors say what to do next."""

import os
import pty
import select
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kowalski.config import ROOT
from kowalski.errors import ConfigError, DatabaseUnavailable, KowalskiError
from kowalski.local.ports import free_ports

#: three of the helpers that commands show their work with, and a step that ends when its work is seen
WORK = """
from kowalski.local.bars import bytes_bar, counting_bar, working
with working("closing the books"):
    pass
with counting_bar(100, "documentation") as bar:
    bar(50)
    bar(100)
print("done")
"""


def at_a_terminal(code: str, **environment: str) -> str:
    """What a terminal gets of a program."""
    ours, theirs = pty.openpty()
    changed = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=changed | {"TERM": "xterm-256color"} | environment,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    assert process.wait(60) == 0, said.decode()
    return said.decode()


def test_a_terminal_sees_what_is_done() -> None:
    said = at_a_terminal(WORK)
    assert "closing the books" in said
    assert "100/100" in said
    assert "\x1b[3" in said  # colours


def test_no_color_is_kept_to() -> None:
    said = at_a_terminal(WORK, NO_COLOR="1")
    assert "100/100" in said
    assert "\x1b[3" not in said


def test_a_file_gets_the_result_alone() -> None:
    done = subprocess.run([sys.executable, "-c", WORK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"
    assert "closing the books" not in done.stderr
    assert "\x1b" not in done.stderr
    silent = WORK.partition("with counting_bar")[0]
    done = subprocess.run([sys.executable, "-c", silent], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


# errors


def said(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "kowalski.py", *arguments], capture_output=True, text=True, check=False, env=os.environ | environment, stdin=subprocess.DEVNULL
    )  # fmt: skip


def test_where_no_mongod_answers_it_is_said_how_to_start_one(tmp_path: Path) -> None:
    """All commands at once, for each waits a while whether one comes."""
    commands = ("outbox", "ledger", "quarantine list", "night status", "migrate --check", "rematch milliquas")
    settings = tmp_path / "config.yaml"
    settings.write_text(
        f"kowalski: {{database: {{host: 127.0.0.1, port: {free_ports(1)[0]}, replica_set: null, password: x, reader_password: y}}}}"
    )
    with ThreadPoolExecutor(len(commands)) as threads:
        found = list(threads.map(lambda command: said(*command.split(), KOWALSKI_CONFIG=str(settings)), commands))
    for command, done in zip(commands, found, strict=True):
        assert done.returncode == 1, command
        problem, hint = done.stderr.strip().splitlines()[-2:]
        assert "Connection refused" in problem, command
        assert hint.startswith("kowalski: ./kowalski.py status says what runs, ./kowalski.py up starts it"), command


def test_wrong_settings_say_where_the_right_ones_are(tmp_path: Path) -> None:
    absent = said("outbox", KOWALSKI_CONFIG=str(tmp_path / "absent.yaml"))
    assert absent.returncode == 1
    assert "absent.yaml, which does not exist" in absent.stderr
    (tmp_path / "wrong.yaml").write_text("kowalski: {server: {prot: 1}}")
    wrong = said("ledger", KOWALSKI_CONFIG=str(tmp_path / "wrong.yaml"))
    assert "server.prot is not a setting" in wrong.stderr
    assert all("config.defaults.yaml has every setting" in done.stderr for done in (absent, wrong))


def test_a_hint_names_commands_and_settings_that_there_are() -> None:
    assert KowalskiError.hint == ""
    for error in (ConfigError, DatabaseUnavailable):
        for word in error.hint.split():
            if word.startswith("docs/"):
                assert (ROOT / word.rstrip(";,")).exists()
