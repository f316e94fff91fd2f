"""./kowalski.py outbox: the numbers, what was refused with its answer, and another try."""

import argparse
import json
from types import SimpleNamespace
from typing import Any

import pytest
from outbox_harness import Night

from kowalski.database.outbox import AT_ONCE
from kowalski.local import outbox as command
from kowalski.settings import Database


@pytest.fixture
def say(mongo_settings: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """A function that runs the command and gives what it prints."""
    monkeypatch.setattr(
        command, "load_config", lambda: SimpleNamespace(database=mongo_settings, misc=SimpleNamespace(broker=True))
    )

    def run(*words: str) -> str:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        assert command.run(parser.parse_args(words)) == 0
        return capsys.readouterr().out

    return run


def test_what_was_refused_is_listed_and_tried_again(night: Night, say: Any) -> None:
    first, second, third = night.firsts[:3]
    night.outbox.add(night.candidates(first, [1, 2]) + night.candidates(second, [1]) + night.candidates(third, [1]))
    refused = {"step": "candidate", "status": 400, "message": "RA must not be null", "at": AT_ONCE}
    night.outbox.fail([f"ZTF:{first.candid}:1", f"ZTF:{second.candid}:1"], refused)
    night.outbox.deliver([f"ZTF:{third.candid}:1"])
    table = say("--failed")
    assert [line.split() for line in table.splitlines()[:2]] == [
        ["pending", "delivered", "failed", "expired"],
        ["skyportal", "1", "1", "2", "0"],
    ]
    assert table.count("candidate 400 RA must not be null") == 2
    assert first.object_id in table
    assert "1 are tried again" in say("--retry", f"ZTF:{first.candid}:1")
    assert night.states_of(first) == {"pending"}
    assert "1 are tried again" in say("--retry")
    report = json.loads(say("--json", "--pending"))
    assert report["counts"]["skyportal"] == {"pending": 3, "delivered": 1}
    assert len(report["pending"]) == 3
    assert report["retried"] is None
