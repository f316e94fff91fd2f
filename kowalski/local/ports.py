"""TCP ports on this machine: which are free, and who has the others."""

import os
import random
import socket
from collections import deque

import psutil

from kowalski.errors import LocalError

#: below the range (from 32768) whose ports Linux gives to outgoing connections, so that a restart finds its port free
RANGE = range(20000, 32000)
#: ``FIRST-LAST`` in place of these: who runs several systems at once gives each ports of its own, as one that is free may be taken
#: by another before it is used
VARIABLE = "KOWALSKI_PORTS"
#: ports that were picked lately, on which nobody may listen yet
_lately: deque[int] = deque(maxlen=256)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def is_of_this_machine(host: str) -> bool:
    """Whether an address, or a name, is one of this machine's own."""
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Different ports on loopback that nobody listens on, picked at random so that neighbours rarely pick the same."""
    found: list[int] = []
    ports = _ports()
    for port in random.sample(ports, len(ports)):  # nosec B311  # no secret
        if len(found) == count:
            return found
        if port not in _lately and is_free(port):
            found.append(port)
            _lately.append(port)
    raise LocalError(f"no {count} free ports between {ports.start} and {ports.stop}: stop what takes them")


def _ports() -> range:
    named = os.environ.get(VARIABLE)
    if not named:
        return RANGE
    try:
        first, last = map(int, named.split("-"))
    except ValueError:
        raise LocalError(f"{VARIABLE} must be FIRST-LAST, e.g. 20000-25999, not {named}") from None
    return range(first, last + 1)


def require_free(port: int, host: str, setting: str, program: str) -> None:
    """Nobody listens on a program's port.

    Raises
    ------
    LocalError : somebody does; the text names port, setting, program and, where it can be known, who
    """
    if not is_free(port, host):
        raise LocalError(
            f"port {port} ({setting}), which {program} needs, is taken{_by_whom(port)}: stop that, or set another port"
        )


def _by_whom(port: int) -> str:
    for process in psutil.process_iter(["name", "pid"]):
        try:
            listening = any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections())
        except psutil.Error:  # another user's, or gone meanwhile
            continue
        if listening:
            return f" by {process.info['name']} (pid {process.info['pid']})"
    return ""
