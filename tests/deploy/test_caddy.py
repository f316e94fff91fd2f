"""docker-compose.traefik.defaults.yaml with real containers, and Debian's caddy in traefik's place: TLS, replicas, logins.

``./kowalski.py test --deploy tests/deploy/test_caddy.py``. The images of Kowalski have the tag in ``KOWALSKI_TEST_TAG`` (test); the api's is
built where it is missing.
"""

import http.client
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from compose_files import TRAEFIK, compose, raw
from compose_project import Project, image
from containers import docker, until

from kowalski.config import ROOT

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
HOST, CADDY = "private.caltech.edu", "kowalski-caddy-for-tests"
#: the first three numbers of the router's network, not those that a Kowalski on this machine has
NETWORK = f"172.29.{os.getpid() % 240}"
ROUTER = f"{NETWORK}.2"
#: where caddy keeps the certificate that signs its others
ROOT_CERTIFICATE = "/letsencrypt/caddy/pki/authorities/local/root.crt"


def with_caddy() -> dict[str, Any]:
    """The compose file whose service traefik has caddy's image, and neither published ports nor the engine's socket.

    A file of its own and not an override file: what that one says of ports and volumes is added to what stands there.
    """
    content = raw(TRAEFIK)
    traefik = content["services"]["traefik"]
    for key in ("command", "ports"):
        del traefik[key]
    traefik["image"] = CADDY
    traefik["volumes"] = ["letsencrypt:/letsencrypt"]
    traefik["healthcheck"]["test"] = ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/443"]
    return content


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Everything that the api behind its router needs, running, and at the end gone without a trace."""
    command = compose()
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers")
    tag = os.environ.get("KOWALSKI_TEST_TAG", "test")
    image(CADDY, HERE / "caddy.Dockerfile", HERE, anew=True)  # its layers are kept
    image(f"skyportal/kowalski-api:{tag}", ROOT / "api.Dockerfile")
    project = Project(
        tmp_path_factory.mktemp("project"),
        command,
        with_caddy(),
        {"server": {"processes": 1}},
        KOWALSKI_VERSION=tag,
        KOWALSKI_SETTINGS="",
        ROUTER_NETWORK=NETWORK,
    )
    try:
        project.compose("up", "-d", "--no-build", "traefik", "api")
        project.wait_healthy("traefik", 1)
        project.wait_healthy("api", 2)
        yield project
    finally:
        project.take_down()


@pytest.fixture(scope="module")
def trust(project: Project) -> ssl.SSLContext:
    """Trusts the router's certificates and no others."""
    return ssl.create_default_context(cadata=project.compose("exec", "-T", "traefik", "cat", ROOT_CERTIFICATE))


class AtTheRouter(http.client.HTTPSConnection):
    """A connection to a name, which is looked for at the router's address."""

    def __init__(self, name: str, trust: ssl.SSLContext):
        super().__init__(name, timeout=60)
        self.trust = trust

    def connect(self) -> None:
        plain = socket.create_connection((ROUTER, 443), self.timeout)
        self.sock = self.trust.wrap_socket(plain, server_hostname=self.host)


def ask(
    trust: ssl.SSLContext, method: str, path: str, body: Any = None, host: str = HOST, **headers: str
) -> tuple[int, Any]:
    """Status and content of an answer over https; ``_`` in a header's name is a hyphen."""
    connection = AtTheRouter(host, trust)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), named)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or "null")
    finally:
        connection.close()


def replica_addresses(project: Project) -> list[str]:
    """Addresses of the replicas that run, in the router's network."""
    networks = [each["NetworkSettings"]["Networks"] for each in project.containers("api", everything=False)]
    return [each[f"{project.name}_router"]["IPAddress"] for each in networks]


def served(address: str) -> int:
    """Requests for /health/live that a replica has answered."""
    lines = requests.get(f"http://{address}:4000/metrics", timeout=10).text.splitlines()
    counted = [line for line in lines if line.startswith("kowalski_api_requests_total") and '"/health/live"' in line]
    return int(sum(float(line.split()[-1]) for line in counted))


def test_https_is_answered_by_both_replicas(project: Project, trust: ssl.SSLContext) -> None:
    addresses = replica_addresses(project)
    assert len(set(addresses)) == 2
    assert ROUTER not in addresses
    before = [served(address) for address in addresses]
    answers = [ask(trust, "GET", "/health/live")[0] for _ in range(20)]
    gained = [served(address) - first for address, first in zip(addresses, before, strict=True)]
    assert answers == [200] * 20
    assert (sum(gained), min(gained) >= 8) == (20, True), gained


def test_its_certificate_is_for_its_name_alone(project: Project, trust: ssl.SSLContext) -> None:
    with pytest.raises(ssl.SSLError):
        ask(trust, "GET", "/health/live", host="other.caltech.edu")
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(ssl.create_default_context(), "GET", "/health/live")


def test_http_is_sent_to_https_for_good(project: Project) -> None:
    answer = requests.get(f"http://{ROUTER}/api/queries?a=1", headers={"Host": HOST}, allow_redirects=False, timeout=10)
    assert answer.status_code in (301, 308)
    assert answer.headers["Location"] == f"https://{HOST}/api/queries?a=1"


def test_the_api_is_not_published(project: Project) -> None:
    ports = {
        each["Config"]["Labels"]["com.docker.compose.service"]: each["NetworkSettings"]["Ports"]
        for each in project.containers()
    }
    assert {"api", "mongo", "traefik"} <= ports.keys()
    assert not [service for service, found in ports.items() if any(found.values())]


def log_in(trust: ssl.SSLContext, password: str, **headers: str) -> str:
    """What the answer to a login through the router says."""
    _, content = ask(trust, "POST", "/api/auth", {"username": "admin", "password": password}, **headers)
    return "in" if "token" in content else str(content["message"])


#: logs in through the router from within a container: another client than this machine
FROM_A_CONTAINER = f"""
import http.client, json, socket, ssl, sys
told = json.load(sys.stdin)
context = ssl.create_default_context(cadata=told["certificate"])
connection = http.client.HTTPSConnection("{HOST}", timeout=60)
connection.sock = context.wrap_socket(socket.create_connection(("{ROUTER}", 443)), server_hostname="{HOST}")
connection.request("POST", "/api/auth", json.dumps(told["login"]))
print(connection.getresponse().read().decode())
"""


def test_logins_are_counted_by_the_clients_that_the_router_sees(project: Project, trust: ssl.SSLContext) -> None:
    password = str(project.config.server.admin_password)
    assert log_in(trust, password) == "in"
    claims = [f"192.0.2.{number}" for number in range(1, 21)]
    said = [log_in(trust, "wrong", X_Forwarded_For=claim, X_Real_Ip=claim) for claim in claims[:6]]
    assert "too many failed logins" in said[5], said  # all six count as this machine's, at whichever replica
    assert "too many" not in said[4]
    direct = requests.post(
        f"http://{replica_addresses(project)[0]}:4000/api/auth",
        json={"username": "admin", "password": "wrong"},
        headers={"X-Forwarded-For": claims[6]},
        timeout=60,
    )
    assert "too many failed logins" in direct.json()["message"]  # past the router it is this machine as well
    certificate = project.compose("exec", "-T", "traefik", "cat", ROOT_CERTIFICATE)
    told = {"certificate": certificate, "login": {"username": "admin", "password": password}}
    other = project.compose("exec", "-T", "api", "python", "-c", FROM_A_CONTAINER, stdin=json.dumps(told))
    assert "token" in json.loads(other), other  # and another client, through the same router, has not failed yet


def test_a_replica_that_dies_is_not_missed(project: Project, trust: ssl.SSLContext) -> None:
    victim = project.containers("api")[0]["Id"]
    docker("kill", victim)
    until(lambda: len(replica_addresses(project)) == 1, "one replica", 20)
    assert [ask(trust, "GET", "/health/ready")[0] for _ in range(20)] == [200] * 20
    docker("start", victim)
    project.wait_healthy("api", 2)
    before = [served(address) for address in replica_addresses(project)]
    until(lambda: ask(trust, "GET", "/health/live")[0] == 200 and grown(project, before), "both replicas", 60)


def grown(project: Project, before: list[int]) -> bool:
    """Whether each replica has answered more than before."""
    return all(served(address) > first for address, first in zip(replica_addresses(project), before, strict=True))


def test_replicas_share_no_disk_and_may_write_only_to_their_own(project: Project) -> None:
    first, second = (each["Id"] for each in project.containers("api"))
    docker("exec", first, "touch", "/kowalski/data/local/one")
    assert "one" not in docker("exec", second, "ls", "-a", "/kowalski/data/local")
    refused = subprocess.run(["docker", "exec", first, "touch", "/kowalski/one"], capture_output=True, check=False)
    assert b"Read-only file system" in refused.stderr
