"""The page's way from an idea to a candidate: each of its blocks, as it stands there, on a running system."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from conftest import Chain

from kowalski.config import ROOT
from kowalski.database.filter_runs import COLLECTION as FIGURES

SECTION = (ROOT / "docs" / "filters.md").read_text()
#: what the two alerts of the section are of
RISING, STAR = "ZTF23aacexiu", "ZTF18aacexip"


def blocks(language: str) -> list[str]:
    """The section's blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)


def parsed(text: str) -> list[dict[str, Any]]:
    """The JSON objects that stand one after the other in a text."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        answer, end = decoder.raw_decode(text)
        found.append(answer)
        text = text[end:]
    return found


def figures(chain: Chain, of: str) -> int:
    """What is told of the section's filter, all its nights together."""
    return sum(night.get(of, 0) for night in chain.database[FIGURES].find({"filter_id": 12}))


def test_from_an_idea_to_a_candidate(chain: Chain, tmp_path: Path) -> None:
    """A file becomes a filter, its alerts are judged as it says, and what passes reaches SkyPortal."""
    for name in ("kowalski.py", "tools", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "rising.yaml").write_text(blocks("yaml")[0])
    server = chain.system.config.server
    log_in = (
        f'TOKEN=$(curl -s -d \'{{"username": "{server.admin_username}", "password": "{server.admin_password}"}}\' '
        f'http://127.0.0.1:{server.port}/api/auth | sed \'s/.*"token": *"\\([^"]*\\)".*/\\1/\')\n'
    )

    def run(script: str) -> str:
        script = log_in + script.replace("localhost:4000", f"127.0.0.1:{server.port}")
        script = script.replace("filter push", f"filter push --url http://127.0.0.1:{server.port}")
        environment = os.environ | {"KOWALSKI_CONFIG": str(chain.system.config_file)}
        done = subprocess.run(
            ["bash", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    simulate, judge, send, ask, outbox = blocks("sh")
    run(simulate)
    told = run(judge)
    assert "rising.yaml: filter 12 is valid and takes many alerts at once" in told
    assert told.count("as expected") == 4
    assert "NOT AS EXPECTED" not in told
    (shown,) = blocks("text")
    for line in shown.splitlines()[:-1]:
        assert line in told
    assert "saved new filter version" in run(send)
    chain.wait(lambda: chain.stored() == 300 and not chain.pending(), "the alerts of the section done")
    passed = chain.database.outbox.count_documents({"filter_id": 12})
    # each worker adds what it counted when it comes to it
    chain.wait(lambda: figures(chain, "passed") == passed, "the filter's figures of all workers")
    status, explained, replayed = parsed(run(ask))
    assert sum(night["passed"] for night in status["data"]["nights"]) == passed
    assert "stage 2 ($match): no part of $or is met" in [each["reason"] for each in explained["data"]]
    assert replayed["data"]["alerts"] == chain.database.ZTF_alerts.count_documents({"candidate.programid": 1})
    assert replayed["data"]["passed"] == passed
    known = chain.received_of(RISING)
    assert known["comments"] == [{"text": "half a magnitude in a week", "group_ids": [1]}]
    assert known["groups"] == {"1": None}
    assert {each["filter_id"] for each in known["candidates"]} == {12}
    assert chain.received()["violations"] == []
    table = run(outbox)
    assert re.search(r"^skyportal +0 +[1-9]\d* +0 +0$", table, re.MULTILINE), table
