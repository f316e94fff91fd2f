"""Where a request comes from, also behind proxies."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

#: bits of an IPv6 address that tell one site from another; whoever has one address has all that differ in the others
SITE = 64
#: characters of what is no address but stands in the place of one
LONGEST = 100


class Proxies:
    """The proxies whose word on where a request comes from is believed."""

    def __init__(self, trusted: tuple[IPv4Network | IPv6Network, ...]):
        self.trusted = trusted

    def client(self, remote: str | None, forwarded: list[str]) -> str:
        """The site that sent a request: the last address of the way that no trusted proxy has.

        Parameters
        ----------
        remote : address of the connection
        forwarded : all ``X-Forwarded-For`` of the request: each proxy adds, at the end, where it had the request from
        """
        way = [part.strip() for part in ",".join(forwarded).split(",") if part.strip()]
        text = remote or ""
        while way and self._trusts(text):
            text = way.pop()
        return _site(text)

    def scheme(self, own: str, remote: str | None, forwarded: list[str]) -> str:
        """``http`` or ``https``: what the client speaks, as the nearest proxy says where it is trusted (``X-Forwarded-Proto``)."""
        said = [part.strip().lower() for part in ",".join(forwarded).split(",") if part.strip()]
        return said[-1] if said and self._trusts(remote or "") else own

    def _trusts(self, text: str) -> bool:
        address = _parsed(text)
        return address is not None and any(address in network for network in self.trusted)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """The address of ``1.2.3.4``, ``1.2.3.4:80``, ``::1``, ``[::1]:80``; IPv4's way of being written in IPv6 as IPv4."""
    bare = re.sub(r"^\[(.*)\](:\d+)?$|^([\d.]+):\d+$", lambda found: found[1] or found[3], text)
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _site(text: str) -> str:
    address = _parsed(text)
    if address is None:
        return text[:LONGEST]
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> (128 - SITE) << (128 - SITE), SITE)))
    return str(address)
