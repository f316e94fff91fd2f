"""What a benchmark says of the packet archive: runs without it before and after, and the ratio."""

from pathlib import Path
from typing import Any, cast

from benchmarks.archive import SEGMENT_BYTES, compared_with_archive
from benchmarks.chain import settings_of
from benchmarks.measured import Measured, Options, Steady
from kowalski.config import build, isolated_tree


class Chain:
    """A chain that takes 4 ms per alert, and 5 with the archive on."""

    def __init__(self, folder: Path):
        self.archive = folder
        self.enabled = False
        self.did: list[str] = []

    def stop_broker(self) -> None:
        self.did.append("stop")

    def set(self, changes: dict[str, Any]) -> None:
        self.enabled = changes["archive"]["enabled"]

    def steady(self, n: int) -> Steady:
        self.did.append(f"{n} {'with' if self.enabled else 'without'}")
        if self.enabled:
            (self.archive / "night.avro").write_bytes(bytes(500 * n))
        return Steady(200.0 if self.enabled else 240.0, {"worker": 4.0 if self.enabled else 3.0, "mongod": 1.0})


def test_with_and_without(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    figures = compared_with_archive(cast(Measured, chain), 100, Steady(260.0, {"worker": 3.0, "mongod": 1.0}))
    assert chain.did == ["stop", "100 with", "stop", "100 without"]
    assert (figures["rate_ratio"], figures["cpu_ratio"], figures["bytes_per_alert"]) == (0.8, 1.25, 500)
    assert figures["alerts_per_second"] == {"with": 200.0, "without": [260.0, 240.0]}


def test_its_files_are_closed_while_the_clock_runs() -> None:
    for wanted in (True, False):
        archive = build(isolated_tree(settings_of(Options(1, archive=wanted)))).archive
        assert (archive.enabled, archive.segment_bytes, Path(archive.folder).is_absolute()) == (
            wanted,
            SEGMENT_BYTES,
            True,
        )
