"""Contours are drawn in a process of their own, which ends in time whatever it is given."""

import asyncio
from typing import Any

import psutil
import pytest

from kowalski.errors import SkymapError
from kowalski.skymaps import drawing
from kowalski.skymaps.cells import Cells
from kowalski.skymaps.contours import contours
from kowalski.skymaps.drawing import draw
from kowalski.skymaps.sources import Source

CONE = Source("cone", {"ra": 10.0, "dec": 20.0, "error": 3.0})


def drawn(source: Source) -> dict[str, Any]:
    return asyncio.run(draw(source, [90.0])).contours


def test_the_same_contours_as_here() -> None:
    assert drawn(CONE) == contours(CONE.read(), [90.0])


def test_the_same_cells_as_here() -> None:
    drawn, here = asyncio.run(draw(CONE, [90.0])), Cells.of(CONE.read())
    there = Cells.from_pieces(drawn.pieces, drawn.cells)
    assert (there.uniq == here.uniq).all()
    assert (there.density == here.density).all()


def test_what_can_not_be_read_is_said() -> None:
    with pytest.raises(SkymapError, match="0 < amin <= amaj"):
        drawn(Source("x", {"ra": 1, "dec": 1, "amaj": 1, "amin": 2, "phi": 0}))


def test_a_process_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "PATIENCE", 0)  # nothing is drawn in no time, on whatever machine
    with pytest.raises(SkymapError, match="takes too long"):
        drawn(CONE)
    assert not [p for p in psutil.Process().children() if "kowalski.skymaps.drawing" in " ".join(p.cmdline())]


def test_it_sees_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOWALSKI__SERVER__ADMIN_PASSWORD", "secret")
    assert not any(key.startswith("KOWALSKI") for key in drawing._environment())


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("unforeseen")])
def test_broken_files_are_their_senders_fault(error: Exception) -> None:
    class Broken(Source):
        def read(self) -> Any:
            raise error

    told, _ = drawing._told(Broken("x", {}), [90.0])
    assert told["error"].startswith("the sky map ")
