"""Filters kept as files, sent to a Kowalski."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from bson import json_util
from filters_harness import MATCH, POST, Room, room, running

from kowalski.errors import FilterError
from kowalski.filters.files import read_filter_file
from kowalski.local.filter_files import pushed

__all__ = ["room", "running"]


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "filter.yaml"
    path.write_text(yaml.safe_dump(POST | {"pipeline": [MATCH]} | changes))
    return path


def test_a_file_becomes_a_filter_and_then_a_version(room: Room, tmp_path: Path) -> None:
    token = room.tokens["member"]
    first = read_filter_file(write(tmp_path, autosave={"active": False, "comment": "from a file"}))
    assert "saved new filter version" in pushed(first, room.api.url, token)
    assert "is the same" in pushed(first, room.api.url, token)
    changed = read_filter_file(
        write(tmp_path, pipeline=[MATCH, {"$project": {"annotations": {"drb": "$candidate.drb"}}}])
    )
    assert "saved new filter version" in pushed(changed, room.api.url, token)
    stored = room.good("GET", "/api/filters/1")["data"]
    assert [len(json_util.loads(version["pipeline"])) for version in stored["fv"]] == [1, 2]
    assert stored["autosave"] is False, "what the file says counts"


def test_what_the_api_refuses_is_said(room: Room, tmp_path: Path) -> None:
    file = read_filter_file(write(tmp_path, group_id=5))
    with pytest.raises(FilterError, match="you are not in group 5"):
        pushed(file, room.api.url, room.tokens["member"])
    with pytest.raises(FilterError, match="a token is needed"):
        pushed(file, room.api.url, None)
    with pytest.raises(FilterError, match="does not answer as a Kowalski does"):
        pushed(file, "http://127.0.0.1:1", "x")
