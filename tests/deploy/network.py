"""Several machines in one: network namespaces joined by a switch, each of which can be cut off and joined again."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress

PREFIX = 24


def why_not() -> str | None:
    """Why no networks can be made here; None where they can."""
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    if shutil.which("ip") is None:
        return "making network namespaces needs iproute2"
    name = f"kowalski-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespaces here: {tried.stderr.strip()}"
    _ip("netns", "del", name)
    return None


class Network:
    """Hosts that reach each other, and this process them, over a switch that is a host of its own.

    Parameters
    ----------
    hosts : their names; they have the addresses .1, .2, ... of a /24 of 10.0.0.0/8, this process .254
    """

    def __init__(self, hosts: Iterable[str]):
        self._mark = os.getpid() % 100_000
        self._net = f"10.{201 + self._mark % 50}.{self._mark // 50 % 250}"
        self._switch = self._name("switch")
        self._ours = f"kw{self._mark}"
        self.addresses = {host: f"{self._net}.{number}" for number, host in enumerate(hosts, 1)}
        self.outside = f"{self._net}.254"
        try:
            self._make()
        except BaseException:
            self.remove()
            raise

    def inside(self, host: str) -> list[str]:
        """What runs a command on a host."""
        return ["ip", "netns", "exec", self._name(host)]

    def cut(self, host: str) -> None:
        """Nothing reaches a host or comes from it."""
        _ip("-n", self._switch, "link", "set", "dev", host, "down")

    def heal(self, host: str) -> None:
        """A host that was cut off is on the network again."""
        _ip("-n", self._switch, "link", "set", "dev", host, "up")

    def remove(self) -> None:
        """Nothing of the network is left."""
        for name in (self._switch, *map(self._name, self.addresses)):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._ours)

    def _make(self) -> None:
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        for host, address in self.addresses.items():
            _ip("netns", "add", self._name(host))
            _ip("-n", self._name(host), "link", "set", "lo", "up")
            self._join(host, "eth0", self._name(host))
            _ip("-n", self._name(host), "address", "add", f"{address}/{PREFIX}", "dev", "eth0")
            _ip("-n", self._name(host), "link", "set", "eth0", "up")
        self._join("outside", self._ours, str(os.getpid()))
        _ip("address", "add", f"{self.outside}/{PREFIX}", "dev", self._ours)
        _ip("link", "set", self._ours, "up")

    def _join(self, port: str, end: str, namespace: str) -> None:
        """A cable from a port of the switch to a device of a namespace, given by its name or by a process in it."""
        peer = ("peer", "name", end, "netns", namespace)
        _ip("link", "add", "name", port, "netns", self._switch, "type", "veth", *peer)
        _ip("-n", self._switch, "link", "set", "dev", port, "master", "switch")
        _ip("-n", self._switch, "link", "set", "dev", port, "up")

    def _name(self, host: str) -> str:
        return f"kowalski-{self._mark}-{host}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20, check=True)
