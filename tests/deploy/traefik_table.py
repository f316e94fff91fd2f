"""What traefik is told by a compose file, as typed tables: its own options and the labels of the services."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

#: options that the files may use, of the reference of traefik 3 (install configuration); ``*`` stands for a chosen name
OPTIONS = (
    "global.checknewversion",
    "log.level",
    "accesslog",
    "ping",
    "entrypoints.*.address",
    "entrypoints.*.http.redirections.entrypoint.to",
    "entrypoints.*.http.redirections.entrypoint.scheme",
    "entrypoints.*.http.redirections.entrypoint.permanent",
    "entrypoints.*.forwardedheaders.insecure",
    "entrypoints.*.forwardedheaders.trustedips",
    "entrypoints.*.transport.respondingtimeouts.readtimeout",
    "entrypoints.*.transport.respondingtimeouts.writetimeout",
    "serverstransport.forwardingtimeouts.idleconntimeout",
    "providers.docker",
    "providers.docker.exposedbydefault",
    "providers.docker.network",
    "providers.docker.constraints",
    "certificatesresolvers.*.acme.email",
    "certificatesresolvers.*.acme.storage",
    "certificatesresolvers.*.acme.httpchallenge",
    "certificatesresolvers.*.acme.httpchallenge.entrypoint",
)
#: likewise labels, of the reference of its docker provider
LABELS = (
    "traefik.enable",
    "traefik.http.routers.*.rule",
    "traefik.http.routers.*.entrypoints",
    "traefik.http.routers.*.service",
    "traefik.http.routers.*.tls.certresolver",
    "traefik.http.services.*.loadbalancer.server.port",
    "traefik.http.services.*.loadbalancer.healthcheck.path",
    "traefik.http.services.*.loadbalancer.healthcheck.interval",
    "traefik.http.services.*.loadbalancer.healthcheck.timeout",
)

#: whether something that has text by name and keys (a request, a container) is meant
Rule = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class EntryPoint:
    """Where traefik listens."""

    name: str
    host: str
    port: int
    redirect_to: str | None
    redirect_scheme: str
    redirect_permanent: bool
    trusted: tuple[IPv4Network | IPv6Network, ...]
    insecure: bool
    read_timeout: float
    write_timeout: float


@dataclass(frozen=True)
class Resolver:
    """Who gets certificates, and how."""

    name: str
    email: str
    storage: str
    challenge: str


@dataclass(frozen=True)
class Router:
    """Which requests go to which service."""

    name: str
    rule: Rule
    entrypoints: tuple[str, ...]
    service: str
    resolver: str | None


@dataclass(frozen=True)
class Service:
    """The containers of a compose service, as traefik reaches them."""

    name: str
    container: str
    port: int
    health_path: str
    health_interval: float
    health_timeout: float


@dataclass(frozen=True)
class Table:
    """All of it."""

    options: Mapping[str, str]
    entrypoints: Mapping[str, EntryPoint]
    resolvers: Mapping[str, Resolver]
    routers: tuple[Router, ...]
    services: Mapping[str, Service]


def read_table(services: Mapping[str, Mapping[str, Any]]) -> Table:
    """The table of a compose file's services, one of which is named traefik.

    Raises
    ------
    ValueError : an option or a label is not known, or stands there twice, or a value is not valid
    """
    options = read_options(services["traefik"]["command"])
    default = options.get("providers.docker.exposedbydefault", "true")
    routers: list[Router] = []
    known: dict[str, Service] = {}
    for container, service in services.items():
        labels = {key.lower(): str(value) for key, value in service.get("labels", {}).items()}
        _require_known((key for key in labels if key.startswith("traefik.")), LABELS)
        if labels.get("traefik.enable", default) == "true":
            routers += [_router(name, found) for name, found in _named(labels, "traefik.http.routers").items()]
            found_services = _named(labels, "traefik.http.services")
            known |= {name: _service(name, container, found) for name, found in found_services.items()}
    entrypoints = {name: _entrypoint(name, found) for name, found in _named(options, "entrypoints").items()}
    resolvers = {name: _resolver(name, found) for name, found in _named(options, "certificatesresolvers").items()}
    return Table(options, entrypoints, resolvers, tuple(routers), known)


def read_options(command: Iterable[str]) -> dict[str, str]:
    """The options of a command line, names in small letters as traefik takes them."""
    options: dict[str, str] = {}
    for argument in command:
        found = re.fullmatch(r"--([\w.]+)(?:=(.*))?", argument)
        if found is None or found[1].lower() in options:
            raise ValueError(f"not an option, or a second time: {argument}")
        options[found[1].lower()] = "true" if found[2] is None else found[2]
    _require_known(options, OPTIONS)
    return options


def seconds(text: str) -> float:
    """The seconds of ``10m``, ``5s``, ``1m30s`` or ``90``; 0 means without end."""
    if re.fullmatch(r"\d+", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h))+", text):
        raise ValueError(f"not a duration: {text}")
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", text))


def read_rule(text: str) -> Rule:
    """A rule such as ``Host(`a.org`) && !PathPrefix(`/x`)``, whose ``&&`` bind closer than its ``||``.

    Raises
    ------
    ValueError : it is not of traefik 3's syntax, or uses what this parser does not know
    """
    words = re.findall(r"`[^`]*`|\w+|&&|\|\||[!(),]|\S", text)
    rule, rest = _any(words)
    if rest:
        raise ValueError(f"{text}: not understood from {rest[0]!r} on")
    return rule


def _any(words: list[str]) -> tuple[Rule, list[str]]:
    first, rest = _all(words)
    while rest[:1] == ["||"]:
        second, rest = _all(rest[1:])
        first = _either(first, second)
    return first, rest


def _all(words: list[str]) -> tuple[Rule, list[str]]:
    first, rest = _one(words)
    while rest[:1] == ["&&"]:
        second, rest = _one(rest[1:])
        first = _both(first, second)
    return first, rest


def _one(words: list[str]) -> tuple[Rule, list[str]]:
    if words[:1] == ["!"]:
        inner, rest = _one(words[1:])
        return (lambda asked: not inner(asked)), rest
    if words[:1] == ["("]:
        inner, rest = _any(words[1:])
        if rest[:1] != [")"]:
            raise ValueError("a parenthesis is not closed")
        return inner, rest[1:]
    if len(words) < 4 or words[1] != "(" or ")" not in words:
        raise ValueError(f"no matcher: {' '.join(words)}")
    end = words.index(")")
    arguments = words[2:end]
    if arguments[1::2] != [","] * (len(arguments) // 2) or not all(each[0] == "`" for each in arguments[::2]):
        raise ValueError(f"{words[0]}: its arguments are texts in backticks, with commas between them")
    return _matcher(words[0], [each.strip("`") for each in arguments[::2]]), words[end + 1 :]


def _either(first: Rule, second: Rule) -> Rule:
    return lambda asked: first(asked) or second(asked)


def _both(first: Rule, second: Rule) -> Rule:
    return lambda asked: first(asked) and second(asked)


def _matcher(name: str, arguments: list[str]) -> Rule:
    match name, arguments:
        case "Host", [host]:
            return lambda asked: bool(asked["host"].lower() == host.lower())
        case "PathPrefix", [prefix]:
            return lambda asked: bool(asked["path"].startswith(prefix))
        case "Label", [key, value]:
            return lambda asked: bool(asked["labels"].get(key) == value)
    raise ValueError(f"{name} with {len(arguments)} arguments is not known")


def _entrypoint(name: str, found: Mapping[str, str]) -> EntryPoint:
    host, _, port = found["address"].rpartition(":")
    redirect = "http.redirections.entrypoint"
    trusted = found.get("forwardedheaders.trustedips", "")
    return EntryPoint(
        name,
        host,
        int(port),
        found.get(f"{redirect}.to"),
        found.get(f"{redirect}.scheme", "https"),
        found.get(f"{redirect}.permanent", "true") == "true",
        tuple(ip_network(each) for each in trusted.split(",") if each),
        found.get("forwardedheaders.insecure", "false") == "true",
        seconds(found.get("transport.respondingtimeouts.readtimeout", "60s")),
        seconds(found.get("transport.respondingtimeouts.writetimeout", "0s")),
    )


def _resolver(name: str, found: Mapping[str, str]) -> Resolver:
    if found["acme.httpchallenge"] != "true":
        raise ValueError(f"{name} has no challenge")
    return Resolver(name, found["acme.email"], found["acme.storage"], found["acme.httpchallenge.entrypoint"])


def _router(name: str, found: Mapping[str, str]) -> Router:
    entrypoints = tuple(each.strip() for each in found["entrypoints"].split(","))
    return Router(name, read_rule(found["rule"]), entrypoints, found["service"], found.get("tls.certresolver"))


def _service(name: str, container: str, found: Mapping[str, str]) -> Service:
    health = "loadbalancer.healthcheck"
    return Service(
        name,
        container,
        int(found["loadbalancer.server.port"]),
        found[f"{health}.path"],
        seconds(found[f"{health}.interval"]),
        seconds(found[f"{health}.timeout"]),
    )


def _named(options: Mapping[str, str], section: str) -> dict[str, dict[str, str]]:
    """What stands under each name of a section: ``{"web": {"address": ":80"}}``."""
    named: dict[str, dict[str, str]] = {}
    for key, value in options.items():
        if key.startswith(f"{section}."):
            name, _, rest = key.removeprefix(f"{section}.").partition(".")
            named.setdefault(name, {})[rest] = value
    return named


def _require_known(names: Iterable[str], known: Iterable[str]) -> None:
    patterns = [re.escape(each).replace(r"\*", r"[\w-]+") for each in known]
    for name in names:
        if not any(re.fullmatch(pattern, name) for pattern in patterns):
            raise ValueError(f"traefik has no {name}, or it is not among those looked up for these tests")
