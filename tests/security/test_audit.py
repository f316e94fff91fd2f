"""The audit of what is pinned: findings fail, and that nobody could be asked is said."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kowalski.config import ROOT

FOUND = {
    "id": "PYSEC-2099-1",
    "aliases": ["CVE-2099-1"],
    "published": "2099-01-01T00:00:00Z",
    "modified": "2099-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "old", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


@pytest.fixture
def osv() -> Iterator[str]:
    """The address of a database that knows of one vulnerability, in place of OSV, which is elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"vulns": [FOUND]} if asked["package"]["name"] == "old" else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    server.shutdown()
    server.server_close()


def audit(path: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "tools/audit.py", str(path), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_what_is_vulnerable_fails(osv: str, tmp_path: Path) -> None:
    pinned = tmp_path / "requirements.txt"
    pinned.write_text("old==1.0\nyoung==2.0\n")
    status, said = audit(pinned, "--osv-url", osv)
    assert status == 1
    assert "old 1.0: PYSEC-2099-1, CVE-2099-1; mended in 1.1" in said
    assert "2 packages looked up at osv: 1 known vulnerabilities" in said
    assert audit(pinned, "--osv-url", osv, "--ignore", "PYSEC-2099-1")[0] == 0


def test_that_nobody_answers_is_said(tmp_path: Path) -> None:
    pinned = tmp_path / "requirements.txt"
    pinned.write_text("old==1.0\n")
    status, said = audit(pinned, "--osv-url", "http://127.0.0.1:1/v1/query")
    assert status == 0
    assert "requirements.txt were NOT looked for" in said
    assert len(said.splitlines()) == 1
