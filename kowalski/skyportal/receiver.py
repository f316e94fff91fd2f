"""A small receiver in SkyPortal's place: checks each message against the contract and keeps what it got.

It answers as SkyPortal does, envelopes and errors included.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from kowalski.skyportal.contract import Refused, require
from kowalski.skyportal.marshal import Groups, Marshal

VERSION = "1.4.0"


class Answer(NamedTuple):
    """Status and JSON envelope (None: no body) of an answer."""

    status: int
    envelope: dict[str, Any] | None


class ReceiverState:
    """All that was received; with ``store`` it is kept in a file of JSON lines and read again at the next start."""

    def __init__(self, groups: Groups, token: str | None = None, store: Path | None = None):
        self._token = token
        self.marshal = Marshal(groups)
        self.counts: Counter[str] = Counter()
        self.messages: list[dict[str, Any]] = []
        self.violations: list[dict[str, Any]] = []
        self.conflicts: list[dict[str, Any]] = []
        self._store = None
        if store is not None:
            for record in _read(store):
                self._replay(record)
            self._store = store.open("a")

    def _replay(self, record: dict[str, Any]) -> None:
        if "refused" in record:
            (self.conflicts if record["conflict"] else self.violations).append(record)
        else:
            self.marshal.answer(record["method"], record["path"], record["query"], record["body"])
            self._count(record)

    def handle(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], raw: bytes = b""
    ) -> Answer:
        """Answer one request as SkyPortal would."""
        record: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(),
            "method": method,
            "path": path,
            "query": dict(query),
        }
        try:
            self._authorise(headers.get("Authorization", ""))
            record["body"] = _parsed(raw) if method in ("POST", "PUT") else None
            data = self._answer(method, path, query, record["body"])
        except Refused as refused:
            record |= {"refused": str(refused), "status": refused.status, "conflict": refused.conflict}
            if method in ("POST", "PUT") or refused.status not in (400, 404):
                (self.conflicts if refused.conflict else self.violations).append(record)
                self._keep(record)
            return Answer(refused.status, None if method == "HEAD" else _error(str(refused)))
        self._count(record)
        if method in ("POST", "PUT"):
            self._keep(record)
        return Answer(200, None if method == "HEAD" else {"status": "success", "data": data, "version": VERSION})

    def summary(self) -> dict[str, Any]:
        """What was received so far, in numbers, and every message that was refused."""
        objects = self.marshal.objects.values()
        return {
            "counts": dict(self.counts),
            "objects": len(objects),
            "candidates": sum(len(one.candidates) for one in objects),
            "annotations": sum(len(one.annotations) for one in objects),
            "points": sum(len(rows) for one in objects for rows in one.photometry.values()),
            "thumbnails": sum(len(one.thumbnails) for one in objects),
            "sources": sum(bool(one.groups) for one in objects),
            "comments": sum(len(one.comments) for one in objects),
            "followup_requests": sum(len(one.follow_up) for one in objects),
            "violations": self.violations,
            "conflicts": self.conflicts,
        }

    def _answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Any:
        try:
            return self.marshal.answer(method, path, query, body)
        except (
            TypeError,
            ValueError,
            LookupError,
            AttributeError,
        ) as error:  # SkyPortal trips over such bodies as well
            raise Refused(f"{type(error).__name__}: {error}", 500) from error

    def _keep(self, record: Mapping[str, Any]) -> None:
        if self._store is not None:
            self._store.write(json.dumps(record) + "\n")
            self._store.flush()

    def _count(self, record: dict[str, Any]) -> None:
        self.counts[f"{record['method']} {_template(record['path'])}"] += 1
        if record["method"] in ("POST", "PUT"):
            self.messages.append(_slim(record))

    def _authorise(self, header: str) -> None:
        found = re.fullmatch(r"token +(\S+)", header)
        require(
            found is not None, "HTTP 401: Unauthorized (Credentials malformed; use Authorization: token <uuid>)", 401
        )
        require(self._token in (None, header.split()[-1]), "HTTP 401: Unauthorized (Invalid token)", 401)


def _read(store: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, which loses a last one that was not written to its end: nobody got an answer to that."""
    if not store.exists():
        return
    with store.open("rb+") as file:
        whole = 0
        for line in file:
            if line.endswith(b"\n"):
                whole += len(line)
                yield json.loads(line)
        file.truncate(whole)


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise Refused(f"the body is not JSON: {error}", 500) from None


def _error(message: str) -> dict[str, Any]:
    return {"status": "error", "message": message, "data": {}, "version": VERSION}


def _template(path: str) -> str:
    return re.sub(r"(/api/(?:candidates|sources|groups))/[^/]+", r"\1/{id}", path).rstrip("0123456789")


def _slim(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its picture, of which only the length is kept in memory."""
    body = record["body"]
    return {**record, "body": {**body, "data": len(body["data"])}} if record["path"] == "/api/thumbnail" else record
