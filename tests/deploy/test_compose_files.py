"""The three compose files: alike but for what is meant, valid, safe as they are, and in line with the settings."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from compose_files import BARE, FRITZ, ONCE, TRAEFIK, VARIABLES, compose, load, raw, services

from kowalski.config import ROOT, build, settings_tree
from kowalski.local.secrets import PUBLISHED
from kowalski.section import SECRET

FILES = (BARE, FRITZ, TRAEFIK)
#: Kowalski's own services that read the settings
READERS = ("prepare", "api", "ingester", "producer")
#: where the others differ from the bare file, on purpose: places in the file, with all that lies below them
DIFFERENCES = {
    FRITZ: {
        *(f"services.{reader}.environment.KOWALSKI__MISC__BROKER" for reader in READERS),
        *(f"services.{reader}.environment.KOWALSKI__SKYPORTAL__PROTOCOL" for reader in READERS),
        *(f"services.{reader}.environment.KOWALSKI__SKYPORTAL__HOST" for reader in READERS),
        *(f"services.{reader}.environment.KOWALSKI__SKYPORTAL__PORT" for reader in READERS),
        "services.api.networks",
        "services.ingester.networks",
        "services.ingester.ports",
        "services.ingester.environment.KOWALSKI__DASK__DASHBOARD_ADDRESS",
        "networks.default",
    },
    TRAEFIK: {
        "services.traefik",
        "services.api.hostname",
        "services.api.deploy",
        "services.api.labels",
        "services.api.ports",
        "services.api.networks",
        "services.api.tmpfs",
        "services.api.volumes",
        "services.api.environment.KOWALSKI__SERVER__TRUSTED_PROXIES",
        "services.ingester.ports",
        "services.ingester.environment.KOWALSKI__DASK__DASHBOARD_ADDRESS",
        "networks.router",
        "volumes.api",
        "volumes.letsencrypt",
    },
}
#: where Prometheus and Grafana can be reached, where they are asked for
MONITORS = {"127.0.0.1:9090:9090", "127.0.0.1:3000:3000"}
#: on which addresses of the host something can be reached
PUBLISHED_PORTS = {
    BARE: {"127.0.0.1:4000:4000", "127.0.0.1:8787:8787", *MONITORS},
    FRITZ: {"127.0.0.1:4000:4000", *MONITORS},
    TRAEFIK: {"80:80", "443:443", *MONITORS},
}
#: what a Kafka without ZooKeeper that is broker and controller needs, and what our packets need of it
KAFKA = {
    "KAFKA_PROCESS_ROLES", "KAFKA_NODE_ID", "KAFKA_CONTROLLER_QUORUM_VOTERS", "KAFKA_CONTROLLER_LISTENER_NAMES",
    "KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
    "KAFKA_INTER_BROKER_LISTENER_NAME", "KAFKA_LOG_DIRS", "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR",
    "KAFKA_MESSAGE_MAX_BYTES", "KAFKA_REPLICA_FETCH_MAX_BYTES",
}  # fmt: skip

#: in place of what a file does not have
ABSENT = object()

every_file = pytest.mark.parametrize("name", FILES)


@pytest.mark.parametrize("name", [FRITZ, TRAEFIK])
def test_it_differs_from_the_bare_one_only_where_it_is_meant_to(name: str) -> None:
    found = differing(load(BARE), load(name), "")
    outside = {place for place in found if not any(is_below(place, meant) for meant in DIFFERENCES[name])}
    unused = DIFFERENCES[name] - {meant for meant in DIFFERENCES[name] for place in found if is_below(place, meant)}
    assert (outside, unused) == (set(), set())


def differing(first: Any, second: Any, place: str) -> set[str]:
    """Where two trees differ; what one of them alone has is one difference."""
    if isinstance(first, dict) and isinstance(second, dict):
        keys = [key for key in {*first, *second} if not str(key).startswith("x-")]  # those are used below, by reference
        found = [
            differing(first.get(key, ABSENT), second.get(key, ABSENT), f"{place}.{key}".lstrip(".")) for key in keys
        ]
        return set().union(*found)
    return {place} if first != second else set()


def is_below(place: str, other: str) -> bool:
    """Whether a place is another or lies in it."""
    return place == other or place.startswith(f"{other}.")


@every_file
def test_images_have_versions(name: str) -> None:
    for service, content in services(name).items():
        assert re.search(r":v?\d+\.\d+", content["image"]), service


@every_file
def test_nothing_can_be_reached_from_elsewhere_but_the_router(name: str) -> None:
    found = services(name)
    ports = [port for content in found.values() for port in content.get("ports", [])]
    assert (len(ports), set(ports)) == (len(PUBLISHED_PORTS[name]), PUBLISHED_PORTS[name])
    assert not [service for service in ("mongo", "kafka", "settings", "prepare") if "ports" in found[service]]
    assert not [service for service, content in found.items() if content.get("network_mode") == "host"]


@every_file
def test_no_secret_stands_there(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not [value for value in PUBLISHED if re.search(rf"[:=]\s*[\"']?{value}[\"']?\s*$", text, re.MULTILINE)]
    for service, content in raw(name)["services"].items():
        for variable, value in content.get("environment", {}).items():
            if SECRET.search(variable):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", str(value)), f"{service}: {variable}"


@every_file
def test_a_secret_that_is_missing_stops_compose(name: str) -> None:
    for variable in ("MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD"):
        with pytest.raises(AssertionError, match=f"{variable} is written into .env"):
            load(name, {**VARIABLES, variable: ""})


@every_file
@pytest.mark.parametrize("service", READERS)
def test_settings_in_the_environment_are_valid(name: str, service: str) -> None:
    environment = {key: str(value) for key, value in services(name)[service]["environment"].items()}
    assert [key for key in environment if key.startswith("KOWALSKI__")]
    config = build(settings_tree([], environment))
    assert (config.database.host, config.database.replica_set) == ("mongo", "rs0")
    assert config.kafka.bootstrap_servers == "kafka:9092"


@every_file
def test_volumes_and_networks_are_declared_and_used(name: str) -> None:
    content = load(name)
    mounted = [volume.split(":")[0] for each in content["services"].values() for volume in each.get("volumes", [])]
    assert {source for source in mounted if re.match(r"\w", source)} == set(content["volumes"])
    joined = {network for each in content["services"].values() for network in each.get("networks", [])}
    assert joined == set(content["networks"])
    assert all("networks" in each or each.get("network_mode") == "none" for each in content["services"].values())


@every_file
def test_what_runs_on_is_started_again_watched_and_confined(name: str) -> None:
    for service, content in services(name).items():
        if service in ONCE:
            assert content.get("restart", "no") == "no", service
            continue
        assert content["restart"] == "unless-stopped", service
        watched = content.get("healthcheck", {}).get("test") or image_is_watched(content)
        assert watched, service
        assert not content.get("healthcheck", {}).get("disable"), service
        assert content["security_opt"] == ["no-new-privileges:true"], service
        assert content["logging"]["options"].keys() == {"max-size", "max-file"}, service


def image_is_watched(content: dict[str, Any]) -> bool:
    """Whether an image that is built here brings its own health check."""
    dockerfile: Path = ROOT / content["build"]["dockerfile"]
    return bool(re.search(r"^HEALTHCHECK .*CMD", dockerfile.read_text(), re.MULTILINE))


@every_file
def test_what_is_built_here_writes_nowhere_but_to_its_volumes(name: str) -> None:
    for service, content in services(name).items():
        if "kowalski" in content["image"]:
            assert (content["read_only"], content["cap_drop"]) == (True, ["ALL"]), service
            assert "/tmp" in content["tmpfs"], service
            assert "settings:/kowalski/settings:ro" in content["volumes"], service


@every_file
def test_kafka_is_told_all_that_it_needs(name: str) -> None:
    kafka = services(name)["kafka"]
    environment = {key: str(value) for key, value in kafka["environment"].items()}
    assert KAFKA - environment.keys() == set()
    assert environment["KAFKA_PROCESS_ROLES"] == "broker,controller"
    listeners = {each.partition("://")[0] for each in environment["KAFKA_LISTENERS"].split(",")}
    mapped = {each.partition(":")[0] for each in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")}
    controller = environment["KAFKA_CONTROLLER_LISTENER_NAMES"]
    assert listeners == mapped == {environment["KAFKA_INTER_BROKER_LISTENER_NAME"], controller}
    voter = f"{environment['KAFKA_NODE_ID']}@{kafka['hostname']}:9093"
    assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"] == voter
    assert environment["KAFKA_LOG_DIRS"] in [volume.split(":")[1] for volume in kafka["volumes"]]
    assert environment["KAFKA_ADVERTISED_LISTENERS"].endswith("//kafka:9092")
    assert int(environment["KAFKA_MESSAGE_MAX_BYTES"]) >= 1 << 20
    assert int(environment["KAFKA_REPLICA_FETCH_MAX_BYTES"]) >= int(environment["KAFKA_MESSAGE_MAX_BYTES"])
    nights = build(settings_tree([], {})).kafka.nights  # before tonight, that are still read
    assert (nights + 1) * 24 <= int(environment["KAFKA_LOG_RETENTION_HOURS"])


@every_file
def test_compose_takes_it(name: str) -> None:
    command = [*compose(), "--project-directory", str(ROOT), "-f", str(ROOT / name)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("COMPOSE_", "KOWALSKI"))}
    environment |= VARIABLES
    done = subprocess.run([*command, "config", "--quiet"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
