"""Images, compositions and the commands that drive them, on a real Docker engine; `./kowalski.py test --deploy` runs it.

The images are built once; then the bare and the fritz composition are each up, are sent real packets, and are taken down.
"""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from containers import Clone, docker, engine_answers, inspect, leftovers, nameless_volumes, until

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not engine_answers(), reason="there is no Docker engine with Compose here"),
]

PIPELINE = [{"$match": {"candidate.drb": {"$exists": True}}}, {"$project": {"annotations.magpsf": "$candidate.magpsf"}}]
RECEIVER = "skyportal-web-1"
FRITZ = "fritz_net"


@pytest.fixture(scope="module")
def packets(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 36 real packets of ZTF in one folder that any user can read."""
    folder = tmp_path_factory.mktemp("packets")
    for path in sorted((test_data / "ztf_alerts").rglob("*.avro")):
        shutil.copy(path, folder / path.name)
        (folder / path.name).chmod(0o644)
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)
    assert len(list(folder.iterdir())) == 36
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """The bare composition as the page has it, up; nothing of it is left in the end."""
    clone = Clone.make(tmp_path_factory.mktemp("bare"), "docker-compose.defaults.yaml")
    assert leftovers() == {"containers": [], "volumes": [], "networks": []}
    yield from _up(clone, "--build")


@pytest.fixture(scope="module")
def fritz(bare: Clone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """The composition beside SkyPortal, whose place the receiver takes; the bare one is down."""
    bare.run("down", "--wipe", "--yes")
    clone = Clone.make(tmp_path_factory.mktemp("fritz"), "docker-compose.fritz.defaults.yaml")
    clone.change_settings(skyportal={"token": "a-token"}, database={"max_wired_tiger_cache": 0.5})
    docker("network", "create", FRITZ)
    image = inspect("skyportal/kowalski-ingester:4.0.0")["Id"]
    receiver = ["python", "tools/skyportal_receiver.py", "--host", "0.0.0.0", "--port", "5000", "--token", "a-token"]
    docker("run", "--detach", "--name", RECEIVER, "--network", FRITZ, image, *receiver)
    try:
        yield from _up(clone)
    finally:
        docker("rm", "--force", "--volumes", RECEIVER)
        docker("network", "rm", FRITZ)


def _up(clone: Clone, *options: str) -> Iterator[Clone]:
    before = nameless_volumes()
    try:
        assert "Kowalski is up in containers" in clone.run("up", *options)
        yield clone
    finally:
        clone.run("down", "--wipe", "--yes")
    assert leftovers() == {"containers": [], "volumes": [], "networks": []}
    assert nameless_volumes() <= before


def count(clone: Clone) -> int:
    """Alerts of ZTF that the API finds."""
    query = {"query_type": "count_documents", "query": {"catalog": "ZTF_alerts", "filter": {}}}
    return int(clone.penquins().query(query=query)["default"]["data"])


def received() -> dict[str, Any]:
    """What the receiver has got, in numbers, and what it refused."""
    code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:5000/_received').read().decode())"
    told: dict[str, Any] = json.loads(docker("exec", RECEIVER, "python", "-c", code))
    return told


# The bare one


def test_images_hold_no_secrets_and_no_root(bare: Clone) -> None:
    for name in ("api", "ingester"):
        image = inspect(f"skyportal/kowalski-{name}:4.0.0")
        assert image["Config"]["User"] == "10001:0"
        assert not [line for line in image["Config"]["Env"] if "PASSWORD" in line or "TOKEN" in line]
        assert "Healthcheck" in image["Config"]
        container = bare.container(name)
        assert docker("exec", container, "id", "-u").strip() == "10001"
        found = docker("run", "--rm", image["Id"], "sh", "-c", "ls config.yaml .env mongo_key.yaml 2>/dev/null || true")
        assert found == ""
        attempt = subprocess.run(
            ["docker", "exec", container, "touch", "/kowalski/x"], capture_output=True, check=False
        )
        assert b"Read-only file system" in attempt.stderr
        assert (bare.folder / "version.txt").read_text() == docker("exec", container, "cat", "version.txt")


def test_only_api_and_dashboard_are_published_and_on_loopback(bare: Clone) -> None:
    published = {
        service: inspect(bare.container(service))["HostConfig"]["PortBindings"] or {}
        for service in ("mongo", "kafka", "api", "ingester")
    }
    assert published["mongo"] == published["kafka"] == {}
    assert [b["HostIp"] for b in published["api"]["4000/tcp"]] == ["127.0.0.1"]
    assert [b["HostIp"] for b in published["ingester"]["8787/tcp"]] == ["127.0.0.1"]
    assert requests.get(f"http://127.0.0.1:{bare.dashboard_port}/info/main/workers.html", timeout=30).status_code == 200


def test_files_with_secrets_are_their_owners_alone(bare: Clone) -> None:
    modes = {"config.yaml": 0o600, ".env": 0o600, "mongo_key.yaml": 0o400}
    assert {name: (bare.folder / name).stat().st_mode & 0o777 for name in modes} == modes
    assert docker("exec", bare.container("mongo"), "stat", "-c", "%u %a", "/key/mongo_key.yaml") == "999 400\n"


def test_status_and_logs_look_into_the_containers(bare: Clone) -> None:
    report = json.loads(bare.run("status", "--json"))
    assert report["ready"]
    assert {each["program"] for each in report["ingester"]["programs"] if each["ready"]} >= {
        "poster",
        "dask-cluster-ztf",
    }
    assert [each["program"] for each in report["api"]["programs"] if each["ready"]] == ["api"]
    assert "alert-broker-ztf" in bare.run("logs", "ingester", "-n", "500")
    assert "there is no service x" in bare.run("logs", "x", status=1)
    assert "pending" in bare.run("outbox")


def test_tests_run_inside(bare: Clone) -> None:
    assert " passed" in bare.run("test", "tests/database", "tests/worker")


def test_real_alerts_arrive_though_all_is_restarted_in_the_middle(bare: Clone, packets: Path) -> None:
    publishing = threading.Thread(target=bare.publish, args=(packets,))
    publishing.start()
    until(lambda: count(bare) > 0, "the first alert")
    names = [bare.container(service) for service in ("ingester", "api", "kafka", "mongo")]
    docker("restart", *names)
    publishing.join()
    until(lambda: _counts(bare) == 36, "36 alerts")
    query = {
        "query_type": "aggregate",
        "query": {"catalog": "ZTF_alerts", "pipeline": [{"$group": {"_id": "$candid"}}]},
    }
    assert len(bare.penquins().query(query=query)["default"]["data"]) == 36


def _counts(clone: Clone) -> int:
    try:
        return count(clone)
    except (requests.RequestException, ValueError, KeyError, TypeError):  # the API is being restarted
        return 0


def test_each_container_stops_in_time_and_in_good_order(bare: Clone) -> None:
    for service in ("ingester", "api"):
        name = bare.container(service)
        began = time.monotonic()
        docker("stop", "--time", "10", name)
        assert time.monotonic() - began < 10
        assert inspect(name)["State"]["ExitCode"] == 0
    bare.run("status", status=1)
    bare.run("up")
    assert count(bare) == 36


def test_a_backup_is_made_beside_it_and_restored(bare: Clone, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    assert "as of" in bare.run("backup", str(folder))
    assert "whole" in bare.run("backup", "--check", str(folder))
    docker("stop", *(bare.container(service) for service in ("ingester", "api")))
    assert "is not empty" in bare.run("restore", str(folder), status=1)
    assert "every collection with the same documents" in bare.run("restore", str(folder), "--drop")
    bare.run("up")
    assert count(bare) == 36


# The one beside SkyPortal


def test_candidates_reach_skyportal_by_name(fritz: Clone, packets: Path) -> None:
    kowalski = fritz.penquins()
    new = {"filter_id": 1, "group_id": 1, "catalog": "ZTF_alerts", "permissions": [1, 2, 3], "pipeline": PIPELINE}
    assert kowalski.api("post", "api/filters", new)["status"] == "success"
    fritz.publish(packets)
    until(lambda: count(fritz) == 36, "36 alerts")
    passing = {"catalog": "ZTF_alerts", "filter": PIPELINE[0]["$match"]}
    expected = kowalski.query(query={"query_type": "count_documents", "query": passing})["default"]["data"]
    assert expected > 0
    until(lambda: received()["candidates"] >= 1, "the first candidate")
    docker("restart", fritz.container("ingester"), fritz.container("mongo"))
    until(lambda: received()["candidates"] == expected, "all candidates")
    assert received()["violations"] == []


def test_skyportal_finds_the_api_under_its_old_names(fritz: Clone) -> None:
    for name in ("kowalski-api-1", "kowalski_api_1"):
        code = f"import urllib.request as u; print(u.urlopen('http://{name}:4000/health/live').status)"
        assert docker("exec", RECEIVER, "python", "-c", code).strip() == "200"


def test_mongod_has_the_cache_of_the_settings(fritz: Clone) -> None:
    assert "--wiredTigerCacheSizeGB 0.5" in " ".join(inspect(fritz.container("mongo"))["Args"])


def test_new_settings_reach_the_containers_by_up(fritz: Clone) -> None:
    before = inspect(fritz.container("api"))["Id"]
    fritz.run("up")
    assert inspect(fritz.container("api"))["Id"] == before
    fritz.change_settings(server={"name": "Another name"})
    fritz.run("up")
    assert inspect(fritz.container("api"))["Id"] != before
    page = requests.get(f"http://127.0.0.1:{fritz.api_port}/docs/api/openapi.json", timeout=30)
    assert "Another name" in page.text


@pytest.mark.skipif(
    not shutil.which("mongorestore") or not shutil.which("mongodump"), reason="MongoDB's Database Tools are not here"
)
def test_seed_restores_archives(fritz: Clone, tmp_path: Path) -> None:
    mongo = fritz.container("mongo")
    for tool in ("mongorestore", "mongodump"):  # the official image has them
        docker("cp", str(shutil.which(tool)), f"{mongo}:/usr/bin/{tool}")
    log_in = 'mongodump -u "$MONGO_INITDB_ROOT_USERNAME" -p "$MONGO_INITDB_ROOT_PASSWORD" --authenticationDatabase admin --archive --db kowalski'
    command = f"{log_in} --collection filters"
    dump = subprocess.run(["docker", "exec", mongo, "sh", "-c", command], capture_output=True, check=True).stdout
    (tmp_path / "filters.dump").write_bytes(dump)
    kowalski = fritz.penquins()
    assert kowalski.api("delete", "api/filters/1")["status"] == "success"
    assert "1 restored" in fritz.run("seed", "--source", str(tmp_path), "--drop")
    assert kowalski.api("get", "api/filters/1")["data"]["filter_id"] == 1
    (tmp_path / "broken.dump").write_bytes(b"no archive")
    assert "1 failed" in fritz.run("seed", "--source", str(tmp_path), status=1)
