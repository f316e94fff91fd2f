"""Behind traefik: what the compose file tells it is complete and safe, and routes as meant."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_harness import ADMIN, PASSWORD, Api, start_api
from compose_files import TRAEFIK, VARIABLES, load, services
from small_router import SmallRouter
from traefik_table import Table, read_options, read_rule, read_table

from kowalski.api.routes import LARGE
from kowalski.api.server import KEEP_ALIVE
from kowalski.config import build, settings_tree
from kowalski.settings import Database

HOST = "private.caltech.edu"
#: in the tests of routing: the router's address, in place of that of the compose file, and those of clients
ROUTER, CLIENTS = "127.0.0.2", [f"127.0.0.{number}" for number in range(3, 8)]


@pytest.fixture(scope="module")
def table() -> Table:
    """What traefik is told."""
    return read_table(services(TRAEFIK))


def option(service: str) -> dict[str, Any]:
    """What stands in the file for a service."""
    return services(TRAEFIK)[service]


def trusted_proxies(service: dict[str, Any]) -> list[str]:
    """Whom a service believes where a request comes from."""
    config = build(settings_tree([], {key: str(value) for key, value in service["environment"].items()}))
    return [str(network) for network in config.server.trusted_proxies]


# What is written


@pytest.mark.parametrize(
    ("rule", "host", "path", "expected"),
    [
        ("Host(`a.org`)", "A.org", "/", True),
        ("Host(`a.org`)", "b.org", "/", False),
        ("Host(`a.org`) && PathPrefix(`/api`)", "a.org", "/api/auth", True),
        ("Host(`a.org`) && PathPrefix(`/api`)", "a.org", "/docs", False),
        ("Host(`a.org`) || Host(`b.org`) && PathPrefix(`/api`)", "a.org", "/", True),
        ("(Host(`a.org`) || Host(`b.org`)) && PathPrefix(`/api`)", "a.org", "/", False),
        ("Host(`a.org`) && !PathPrefix(`/metrics`)", "a.org", "/metrics", False),
    ],
)
def test_rules_are_read_as_traefik_reads_them(rule: str, host: str, path: str, expected: bool) -> None:
    assert read_rule(rule)({"host": host, "path": path}) is expected


@pytest.mark.parametrize(
    "rule",
    [
        "Host(a.org)",
        "Host(`a.org`",
        "Host(`a.org`, `b.org`)",
        "Hots(`a.org`)",
        "Host(`a.org`) &&",
        "",
        "Host(`a`) Host(`b`)",
    ],
)
def test_rules_of_another_syntax_are_refused(rule: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_rule(rule)


@pytest.mark.parametrize("argument", ["--entrypoint.web.address=:80", "--ping=true", "entrypoints.web.address=:80"])
def test_options_that_traefik_does_not_have_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=argument.strip("-").split("=")[0]):
        read_options(["--ping", argument])


def test_certificates_come_by_the_http_challenge(table: Table) -> None:
    (router,) = table.routers
    assert router.resolver is not None
    resolver = table.resolvers[router.resolver]
    assert (resolver.name, resolver.email) == ("myhttpchallenge", "kowalski@caltech.edu")
    assert table.entrypoints[resolver.challenge].port == 80  # the only one at which the challenge is made
    volumes = dict(volume.split(":")[1::-1] for volume in option("traefik")["volumes"])
    assert resolver.storage == "/letsencrypt/acme.json"
    assert volumes["/letsencrypt"] == "letsencrypt"  # kept: there is a limit on certificates per week
    assert "letsencrypt" in load(TRAEFIK)["volumes"]


def test_everything_comes_in_encrypted(table: Table) -> None:
    web, websecure = table.entrypoints["web"], table.entrypoints["websecure"]
    assert (web.redirect_to, web.redirect_scheme, web.redirect_permanent) == ("websecure", "https", True)
    assert (websecure.host, websecure.port, websecure.redirect_to) == ("", 443, None)
    assert all(router.entrypoints == ("websecure",) and router.resolver for router in table.routers)


def test_no_dashboard(table: Table) -> None:
    assert not [name for name in table.options if name.split(".")[0] == "api"]
    assert not [router.name for router in table.routers if router.service not in table.services]  # such as api@internal
    assert table.entrypoints["traefik"].host == "127.0.0.1"
    published = {int(port.split(":")[-1]) for port in option("traefik")["ports"]}
    assert published == {each.port for each in table.entrypoints.values() if each.host == ""} == {80, 443}


def test_nothing_else_is_published() -> None:
    published = {name: service for name, service in services(TRAEFIK).items() if "ports" in service}
    assert [name for name, service in published.items() if "profiles" not in service] == ["traefik"]
    asked_for = [port for service in published.values() if "profiles" in service for port in service["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in asked_for)


def test_traefik_has_no_more_rights_than_it_needs() -> None:
    traefik = option("traefik")
    assert [volume for volume in traefik["volumes"] if "docker.sock" in volume] == [
        "/var/run/docker.sock:/var/run/docker.sock:ro"
    ]
    assert (traefik["read_only"], traefik["cap_drop"], traefik["cap_add"]) == (True, ["ALL"], ["NET_BIND_SERVICE"])
    assert traefik["security_opt"] == ["no-new-privileges:true"]
    assert not [
        name for name, service in services(TRAEFIK).items() if "docker.sock" in str(service) and name != "traefik"
    ]
    assert list(traefik["networks"]) == ["router"]


def test_only_the_routers_word_on_where_requests_come_from_is_believed(table: Table) -> None:
    for entrypoint in table.entrypoints.values():
        assert (entrypoint.trusted, entrypoint.insecure) == ((), False), entrypoint.name
    address = option("traefik")["networks"]["router"]["ipv4_address"]
    assert trusted_proxies(option("api")) == [f"{address}/32"]
    (config,) = load(TRAEFIK)["networks"]["router"]["ipam"]["config"]
    subnet, replicas = IPv4Network(config["subnet"]), IPv4Network(config["ip_range"])
    assert ip_address(address) in subnet
    assert ip_address(address) not in replicas  # else one of them might get it
    assert replicas.subnet_of(subnet)
    assert address != config["gateway"]  # from where the host itself comes


def test_traefik_finds_the_replicas_of_this_project_alone(table: Table) -> None:
    content = load(TRAEFIK)
    assert table.options["providers.docker"] == "true"
    assert table.options["providers.docker.exposedbydefault"] == "false"
    network = content["networks"]["router"]["name"]
    assert table.options["providers.docker.network"] == network
    assert "router" in content["services"]["api"]["networks"]
    assert {service.container for service in table.services.values()} == {"api"}
    ours = read_rule(table.options["providers.docker.constraints"])
    assert ours({"labels": {"com.docker.compose.project": "kowalski"}})
    assert not ours({"labels": {"com.docker.compose.project": "kowalski2"}})
    other = load(TRAEFIK, {**VARIABLES, "COMPOSE_PROJECT_NAME": "kowalski2", "ROUTER_NETWORK": "10.9.8"})
    assert other["networks"]["router"]["name"] == "kowalski2_router"
    assert "--providers.docker.network=kowalski2_router" in other["services"]["traefik"]["command"]
    assert trusted_proxies(other["services"]["api"]) == ["10.9.8.2/32"]


def test_there_are_several_replicas_that_do_not_share_a_disk(table: Table) -> None:
    api = option("api")
    assert api["deploy"]["replicas"] >= 2
    assert "hostname" not in api
    assert "container_name" not in api
    written = [volume for volume in api["volumes"] if not volume.endswith(":ro")]
    assert written == ["targets:/kowalski/data/local/metrics"]  # a file for each process, under a name of its own
    (service,) = table.services.values()
    assert (service.port, service.health_path) == (int(api["environment"]["KOWALSKI__SERVER__PORT"]), "/health/ready")
    assert service.health_timeout < service.health_interval <= 10


def test_slow_requests_and_long_answers_are_not_cut(table: Table) -> None:
    websecure = table.entrypoints["websecure"]
    assert websecure.write_timeout == 0  # the time for a query and its answer
    assert websecure.read_timeout > 0  # nobody holds a connection forever by sending nothing
    assert LARGE / websecure.read_timeout < 128 * 1024  # bytes per s
    assert (
        0 < float(table.options["serverstransport.forwardingtimeouts.idleconntimeout"].removesuffix("s")) < KEEP_ALIVE
    )


# What it does


@pytest.fixture(scope="module")
def replicas(
    fresh_database: Callable[[], Database], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Api, Api]]:
    """Two real APIs over one database, which trust what the compose file says, with this test's router in traefik's place."""
    address = option("traefik")["networks"]["router"]["ipv4_address"]
    trusted = [each.replace(address, ROUTER) for each in trusted_proxies(option("api"))]
    settings = fresh_database()
    with ExitStack() as stack:
        pair = []
        for number in range(2):
            api = start_api(tmp_path_factory.mktemp(f"api{number}"), settings, trusted_proxies=trusted)
            stack.callback(api.stop)
            pair.append(api)
        for api in pair:
            api.wait_ready()
        yield pair[0], pair[1]


@pytest.fixture(scope="module")
def router(table: Table, replicas: tuple[Api, Api]) -> Iterator[SmallRouter]:
    """A router that does what the compose file says."""
    with SmallRouter(table, {"api": [("127.0.0.1", api.port) for api in replicas]}, ROUTER) as running:
        yield running


def ask(
    port: int, method: str, path: str, client: str = CLIENTS[0], host: str = HOST, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of an answer; ``client`` is the address that asks, ``_`` in a header's name a hyphen."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30, source_address=(client, 0))) as connection:
        named = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, None if body is None else json.dumps(body), named)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, dict(answer.getheaders()), json.loads(text) if text else None


def log_in(port: int, client: str, password: str, **headers: str) -> str:
    """What the answer to a login says."""
    body = {"username": ADMIN, "password": password}
    _, _, content = ask(port, "POST", "/api/auth", client, body=body, **headers)
    return "in" if "token" in content else str(content["message"])


def failures_until_refused(port: int, client: str, others: list[str]) -> int:
    """Wrong passwords from a client until it has to wait, each said to come from another address; 20 at most."""
    for number in range(20):
        said = log_in(port, client, "wrong", X_Forwarded_For=others[number % len(others)], X_Real_Ip=others[0])
        if "too many failed logins" in said:
            return number
    return 20


@pytest.mark.parametrize(("method", "status"), [("GET", 301), ("POST", 308)])
def test_http_is_sent_to_https_for_good(router: SmallRouter, method: str, status: int) -> None:
    answer, headers, _ = ask(router.port("web"), method, "/api/queries?a=1")
    assert (answer, headers["Location"]) == (status, f"https://{HOST}/api/queries?a=1")


def test_only_its_own_host_is_routed(router: SmallRouter) -> None:
    port = router.port("websecure")
    assert ask(port, "GET", "/health/ready")[0] == 200
    assert ask(port, "GET", "/health/ready", host=HOST.upper())[0] == 200
    assert ask(port, "GET", "/health/ready", host="caltech.edu")[0] == 404
    assert ask(port, "GET", "/health/ready", host=f"www.{HOST}")[0] == 404


@pytest.mark.parametrize("path", ["/dashboard/", "/api/rawdata", "/api/overview", "/ping", "/debug/pprof"])
def test_what_traefik_says_of_itself_is_not_reached(router: SmallRouter, path: str) -> None:
    assert ask(router.port("web"), "GET", path)[0] == 301
    assert ask(router.port("websecure"), "GET", path)[0] == 404  # of the api, as for any path that it doesn't have


def served(api: Api) -> int:
    """Requests for /health/live that an API has answered."""
    lines = api.get("/metrics").text.splitlines()
    counted = [line for line in lines if line.startswith("kowalski_api_requests_total") and '"/health/live"' in line]
    return int(sum(float(line.split()[-1]) for line in counted))


def test_requests_are_shared_out(router: SmallRouter, replicas: tuple[Api, Api]) -> None:
    before = [served(api) for api in replicas]
    for _ in range(10):
        assert ask(router.port("websecure"), "GET", "/health/live")[0] == 200
    assert [served(api) - first for api, first in zip(replicas, before, strict=True)] == [5, 5]


def test_logins_are_counted_by_the_address_that_the_router_tells(
    router: SmallRouter, replicas: tuple[Api, Api]
) -> None:
    port = router.port("websecure")
    guesser, honest, direct = CLIENTS[:3]
    assert failures_until_refused(port, guesser, CLIENTS[3:]) == 5  # at both replicas together, whatever it claims
    assert "too many" in log_in(port, guesser, PASSWORD, X_Forwarded_For=honest)
    assert log_in(port, honest, PASSWORD) == "in"  # who comes through the same router
    assert failures_until_refused(replicas[0].port, direct, [honest]) == 5  # past the router a claim counts for nothing
    assert log_in(port, honest, PASSWORD) == "in"


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers of the request."""

    def do_GET(self) -> None:
        text = json.dumps({key.lower(): value for key, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_what_a_client_says_of_its_way_does_not_reach_the_api(table: Table) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as echo:
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        with SmallRouter(table, {"api": [("127.0.0.1", echo.server_port)]}, ROUTER) as own:
            claim = {"X_Forwarded_For": "192.0.2.1", "X_Real_Ip": "192.0.2.1", "X_Request_Id": "kept"}
            _, _, got = ask(own.port("websecure"), "GET", "/", CLIENTS[0], **claim)
        echo.shutdown()
    assert (got["x-forwarded-for"], got.get("x-real-ip"), got["x-request-id"]) == (CLIENTS[0], None, "kept")


def test_a_replica_that_is_gone_is_left_out(
    router: SmallRouter, replicas: tuple[Api, Api], table: Table, tmp_path: Path
) -> None:
    settings = yaml.safe_load((replicas[0].log.parent / "config.yaml").read_text())["kowalski"]["database"]
    third = start_api(tmp_path, Database.model_validate({**settings, "xmatch": {}}))
    try:
        third.wait_ready()
        ports = [("127.0.0.1", api.port) for api in (replicas[0], third)]
        with SmallRouter(table, {"api": ports}, ROUTER) as own:
            assert [ask(own.port("websecure"), "GET", "/health/live")[0] for _ in range(4)] == [200] * 4
            third.process.kill()
            third.process.wait()
            assert [ask(own.port("websecure"), "GET", "/health/live")[0] for _ in range(4)] == [200] * 4
        with SmallRouter(table, {"api": ports[1:]}, ROUTER) as own:
            assert ask(own.port("websecure"), "GET", "/health/live")[0] == 503
    finally:
        third.process.kill()
        third.process.wait()
