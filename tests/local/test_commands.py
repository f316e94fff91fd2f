"""up, down, status and logs, in a copy of the project with ports and data of its own."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from kowalski.config import ROOT, settings_tree
from kowalski.errors import ConfigError
from kowalski.local.ports import free_ports
from kowalski.local.system import LocalSystem
from kowalski.section import SECRET

Run = Callable[..., subprocess.CompletedProcess[str]]

#: the command line itself, less the making of .venv
CODE = """
import runpy, sys
command_line = runpy.run_path("kowalski.py")
command_line["main"].__globals__["ensure_environment"] = lambda: None
sys.exit(command_line["main"]())
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project that uses free ports and one dask worker; nothing of it runs at the end."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("kowalski", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("kowalski.py", "config.defaults.yaml", "config.local.yaml"):
        shutil.copy(ROOT / name, folder / name)
    api, mongod, kafka, scheduler, dashboard = free_ports(5)
    while kafka + 1 in (api, mongod, scheduler, dashboard):
        kafka = free_ports(1)[0]
    settings = {
        "server": {"port": api, "processes": 1},
        "database": {"port": mongod},
        "kafka": {"bootstrap.servers": f"127.0.0.1:{kafka}"},
        "dask": {"n_workers": 1, "scheduler_port": scheduler, "dashboard_address": f":{dashboard}"},
        "enabled": {"pgir": False, "wntr": False, "turbo": False},
        "local": {"mongod_cache_gb": 0.25},
    }
    (folder / "config.yaml").write_text("# night shift\n" + yaml.safe_dump({"kowalski": settings}))
    yield folder
    command(folder)("down", "--local")
    left = [
        process for process in psutil.process_iter() if str(folder) in _environment(process).get("KOWALSKI_SYSTEM", "")
    ]
    assert left == []


def command(folder: Path) -> Run:
    """The command line of a copy."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("KOWALSKI", "PYTHONPATH"))}

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", CODE, *arguments],
            cwd=folder, env=ours | environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def run(clone: Path) -> Run:
    """The command line of the copy."""
    return command(clone)


@pytest.fixture(scope="module")
def up(run: Run) -> subprocess.CompletedProcess[str]:
    """What the first `up` said."""
    return run("up")


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def settings(clone: Path) -> dict[str, dict[str, object]]:
    return yaml.safe_load((clone / "config.yaml").read_text())["kowalski"]


def test_before_up_nothing_is_ready(run: Run) -> None:
    done = run("status")
    assert done.returncode == 1
    assert "stopped" in done.stdout


def test_up_makes_secrets_and_is_ready(clone: Path, up: subprocess.CompletedProcess[str]) -> None:
    assert up.returncode == 0, up.stderr
    assert "made and wrote into config.yaml" in up.stderr
    assert "user admin, password in config.yaml" in up.stdout
    assert (clone / "config.yaml").read_text().startswith("# night shift\n")
    for name in ("config.yaml", ".env"):
        assert (clone / name).stat().st_mode & 0o777 == 0o600


def test_api_takes_the_admin_of_config_yaml(clone: Path, up: subprocess.CompletedProcess[str]) -> None:
    server = settings(clone)["server"]
    request = urllib.request.Request(
        f"http://127.0.0.1:{server['port']}/api/auth",
        json.dumps({"username": "admin", "password": server["admin_password"]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["token"]


def test_up_again_leaves_everything_as_it_is(run: Run, up: subprocess.CompletedProcess[str]) -> None:
    before = json.loads(run("status", "--json").stdout)
    again = run("up")
    after = json.loads(run("status", "--json").stdout)
    assert again.returncode == 0, again.stderr
    assert "made" not in again.stderr
    assert [each["pid"] for each in before["programs"]] == [each["pid"] for each in after["programs"]]


def test_status_tells_of_every_program(run: Run, up: subprocess.CompletedProcess[str]) -> None:
    done = run("status")
    assert done.returncode == 0, done.stdout
    for name in ("mongod", "kafka", "dask-cluster-ztf", "alert-broker-ztf", "poster", "api"):
        assert f"\n{name} " in f"\n{done.stdout}"
    report = json.loads(run("status", "--json").stdout)
    assert report["ready"] is True
    assert "alert-broker" in [each["program"] for each in report["processes"]]
    assert "password" not in done.stdout


def test_what_the_operators_guide_tells_for_the_evening_and_the_morning(
    run: Run, up: subprocess.CompletedProcess[str]
) -> None:
    guide = (ROOT / "docs" / "operators.md").read_text()
    sections = [guide.split(f"\n## {name}\n")[1].split("\n## ")[0] for name in ("Evening", "Morning")]
    blocks = [re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)[0] for section in sections]
    lines = [line.partition("#")[0].split()[1:] for block in blocks for line in block.splitlines()]
    assert lines == [["status"], ["night", "status"], ["ledger"], ["quarantine", "list"], ["outbox", "--failed"]]
    for line in lines:
        done = run(*line)
        empty = line == ["ledger"]  # no message was read yet
        assert done.returncode == (1 if empty else 0), done.stderr
        assert ("the ledger is empty" in done.stderr) == empty


def lines_of(page: str, number: int) -> list[list[str]]:
    """The words of each line of a page's block of commands, without what is said of it."""
    block = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.M | re.S)[number]
    return [line.partition("#")[0].split() for line in block.splitlines()]


def test_what_the_page_on_archives_tells(clone: Path, run: Run, up: subprocess.CompletedProcess[str]) -> None:
    simulate, tar, histories, alerts = lines_of("archives.md", 0)
    assert simulate[0] == ".venv/bin/python"
    for words in ([sys.executable, str(ROOT / simulate[1]), *simulate[2:]], tar):
        subprocess.run(words, cwd=clone, check=True, capture_output=True)
    for words, said in ((histories, "300 packets"), (alerts, "300 stored")):
        assert words[0] == "./kowalski.py"
        done = run(*words[1:])
        assert (done.returncode, said in done.stdout) == (0, True), (done.stdout, done.stderr)


def test_what_the_page_on_backups_tells(
    run: Run, up: subprocess.CompletedProcess[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The restoring is done where nothing runs."""
    for words in lines_of("backups.md", 0):
        done = run(*(str(kept_at(tmp_path_factory)) if word == "/backups/monday" else word for word in words[1:]))
        assert done.returncode == 0, done.stderr


def kept_at(folders: pytest.TempPathFactory) -> Path:
    return folders.getbasetemp() / "backups" / "monday"


def secrets_of(clone: Path) -> set[str]:
    """All that is made at the first start."""
    written = settings(clone)
    made = {**written["server"], **{f"database.{key}": value for key, value in written["database"].items()}}
    return {str(value) for key, value in made.items() if SECRET.search(key)}


def test_secrets_are_in_three_private_files_and_nowhere_else(
    clone: Path, run: Run, up: subprocess.CompletedProcess[str]
) -> None:
    """Not in what is said or logged, nor in command lines and environments, which others on the machine may see."""
    secrets = secrets_of(clone)
    assert len(secrets) == 5
    for attempt in ({"username": "admin", "password": "a-wrong-password"}, {"username": "nobody", "password": ["x"]}):
        url = f"http://127.0.0.1:{settings(clone)['server']['port']}/api/auth"
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(url, json.dumps(attempt).encode()), timeout=10)
    secrets.add("a-wrong-password")
    said = [up.stdout, up.stderr, run("status", "--json").stdout]
    ours = str(clone / "data" / "local")
    processes = [each for each in psutil.process_iter() if _environment(each).get("KOWALSKI_SYSTEM") == ours]
    assert len(processes) >= 8
    said += [repr([each.cmdline(), _environment(each)]) for each in processes]
    assert [text for text in said for secret in secrets if secret in text] == []
    database = clone / "data" / "local" / "mongod" / "data"
    files = [path for path in clone.rglob("*") if path.is_file() and not path.is_relative_to(database)]
    holding = {path for path in files for secret in secrets if secret.encode() in path.read_bytes()}
    private = {clone / "config.yaml", clone / ".env", clone / "data" / "local" / "config.yaml"}
    assert holding == private


def test_nobody_else_can_look_into_data_and_logs(clone: Path, up: subprocess.CompletedProcess[str]) -> None:
    """Alerts of programmes that are not public lie in MongoDB's and Kafka's files, and names of users in the logs."""
    data, logs = clone / "data" / "local", clone / "logs"
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (data, logs)] == [0o700, 0o700]
    written = [
        *(data / "kafka" / "data").glob("*/*.log"),
        *(data / "mongod" / "data").glob("*.wt"),
        *logs.glob("*.log"),
    ]
    assert len(written) > 10
    assert [path for path in written if path.stat().st_mode & 0o077] == []
    [key] = data.glob("mongod/key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o400


def test_logs_of_one_program_of_all_and_of_none(run: Run, up: subprocess.CompletedProcess[str]) -> None:
    assert "Waiting for connections" in run("logs", "mongod", "-n", "1000").stdout
    assert "supervisord.log" in run("logs").stdout
    wrong = run("logs", "mongo")
    assert wrong.returncode == 1
    assert "no log of mongo" in wrong.stderr
    assert "poster" in wrong.stderr


def test_down_keeps_data(clone: Path, run: Run, up: subprocess.CompletedProcess[str]) -> None:
    refused = run("down", "--wipe")
    assert refused.returncode == 1
    assert "takes --yes" in refused.stderr
    assert "Kowalski is down" in run("down").stdout
    assert (clone / "data" / "local" / "mongod" / "data").exists()
    assert "nothing was running" in run("down").stdout


def test_what_is_kept_is_put_back(
    run: Run, up: subprocess.CompletedProcess[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    down, restore, up_again = lines_of("backups.md", 1)
    assert (down[1:], restore[1], up_again[1:]) == (["down"], "restore", ["up"])
    run("down")
    done = run("restore", str(kept_at(tmp_path_factory)), "--drop", "--local")
    assert done.returncode == 0, done.stderr


def test_wipe_leaves_what_is_not_the_systems(clone: Path, run: Run, up: subprocess.CompletedProcess[str]) -> None:
    data = clone / "data" / "local"
    (data / "demo").mkdir()
    run("down", "--wipe", "--yes")
    assert [path.name for path in data.iterdir()] == ["demo"]


def test_compose_file_means_containers_unless_local_is_said(clone: Path, run: Run, tmp_path: Path) -> None:
    compose_file = clone / "docker-compose.yaml"
    compose_file.touch()
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    docker.chmod(0o755)
    try:
        without = run("down", PATH="/nowhere")
        dead = run("down", PATH=f"{tmp_path}:{os.environ['PATH']}")
        here = run("down", "--local")
    finally:
        compose_file.unlink()
    assert without.returncode == dead.returncode == 1
    assert without.stderr.startswith("kowalski: docker is not installed; --local")
    assert "no Docker engine answers (Cannot connect to the Docker daemon); --local" in dead.stderr
    assert here.returncode == 0


def test_unknown_setting_stops_every_command_with_its_name(clone: Path, run: Run) -> None:
    whole = (clone / "config.yaml").read_text()
    (clone / "config.yaml").write_text(whole.replace("processes:", "proceses:"))
    try:
        done = run("up")
    finally:
        (clone / "config.yaml").write_text(whole)
    assert done.returncode == 1
    assert "server.proceses is not a setting" in done.stderr


def test_a_system_can_be_stopped_though_the_settings_are_wrong_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By what it was started with; one that never was says what is wrong."""
    monkeypatch.setattr("kowalski.local.system.ROOT", tmp_path)
    (tmp_path / "config.yaml").write_text("kowalski: {server: {prot: 4000}}\n")
    with pytest.raises(ConfigError, match="server.prot is not a setting"):
        LocalSystem.running()
    effective = tmp_path / settings_tree([], {})["local"]["folder"] / "config.yaml"
    effective.parent.mkdir(parents=True)
    effective.write_text("kowalski: {server: {port: 4321}, database: {replica_set: rs0}}\n")
    assert LocalSystem.running().config.server.port == 4321
