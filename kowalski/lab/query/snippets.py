"""The same query without the lab: by penquins, and by curl."""

import json
import shlex
from pprint import pformat
from typing import Any

from kowalski.lab.addresses import host_and_port

PENQUINS = """\
import os

from penquins import Kowalski

kowalski = Kowalski(token=os.environ["KOWALSKI_TOKEN"], protocol={protocol!r}, host={host!r}, port={port})
query = {query}
data = kowalski.query(query)["default"]["data"]
"""
CURL = """\
curl -sS {url}/api/queries \\
  -H "Authorization: Bearer $KOWALSKI_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d {body}
"""


def penquins(body: dict[str, Any], url: str) -> str:
    """Python that asks an API at an address for what a body asks."""
    host, port = host_and_port(url)
    query = pformat(body, sort_dicts=False, width=100)
    return PENQUINS.format(protocol=url.partition(":")[0], host=host, port=port, query=query)


def curl(body: dict[str, Any], url: str) -> str:
    """A shell's command that does the same."""
    return CURL.format(url=shlex.quote(url), body=shlex.quote(json.dumps(body, indent=1)))
