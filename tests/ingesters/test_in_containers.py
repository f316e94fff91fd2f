"""Where MongoDB is in a container, the command goes there with the files mounted, and says the same there."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import pytest

from kowalski.local import ingest

from .tables import simulated, write


@pytest.mark.parametrize("folder", [True, False])
def test_the_command_goes_where_mongodb_is(folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "sky.csv", simulated(3))
    calls = []

    def with_folders(name: str, folders: Mapping[Path, str], *arguments: str) -> int:
        calls.append((name, folders, arguments))
        return 3

    monkeypatch.setattr(ingest.compose, "is_meant", lambda local: True)
    monkeypatch.setattr(ingest.compose, "with_folders", with_folders)
    monkeypatch.setattr(ingest, "REJECTS", tmp_path / "rejects")
    given = [
        "--collection=sky",
        "--id=id",
        "--keep=n < 3",
        "--keep=mag > 1",
        "--rm",
        "--verify",
        "--max-docs=7",
        "--json",
    ]
    parser = argparse.ArgumentParser()
    ingest.add_arguments(parser)
    asked = parser.parse_args(["catalog", str(tmp_path if folder else path), *given])
    assert ingest.run(asked) == 3
    ((name, folders, (recipe, place, *options)),) = calls
    assert (name, recipe) == ("ingest", "catalog")
    assert folders == {tmp_path: "/from:ro", tmp_path / "rejects": "/kowalski/data/ingests"}
    again = parser.parse_args([recipe, str(asked.path), *options])
    assert again == asked
    assert place == ("/from" if folder else "/from/sky.csv")
