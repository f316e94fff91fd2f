"""The archive kept: files closed when nothing more comes, brought to the remote store, and told of."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import Gauge

from kowalski.archive.packets.notices import Notices
from kowalski.archive.packets.reading import ArchiveFile, PacketArchive
from kowalski.archive.packets.remote import Remote
from kowalski.archive.packets.sealing import seal
from kowalski.archive.packets.segment import INDEX, SEAL, write_whole
from kowalski.config import ROOT
from kowalski.errors import ArchiveUnavailable, ConfigError
from kowalski.log import get_logger
from kowalski.settings import Config
from kowalski.watchers.watch import delay

log = get_logger(__name__)

PACKETS = Gauge("kowalski_archive_packets", "Packets in the packet archive")
GIGABYTES = Gauge("kowalski_archive_gigabytes", "Its size")
OPEN = Gauge("kowalski_archive_open_files", "Files that are not closed")
TO_UPLOAD = Gauge("kowalski_archive_files_to_upload", "Files that the remote store has not got yet")
FREE = Gauge("kowalski_archive_gigabytes_free", "Room on its disk")

#: the name under which it runs and signs
PROGRAM = "archive-keeper"


@dataclass
class Night:
    """What a survey's folder of a night holds.

    Attributes
    ----------
    open : files that are not closed
    todo : closed ones that are still to be uploaded, or told of
    """

    packets: int = 0
    bytes: int = 0
    files: int = 0
    open: list[ArchiveFile] = field(default_factory=list)
    todo: list[ArchiveFile] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether nothing of it will change but by new files."""
        return not self.open and not self.todo


class Keeper:
    """Looks after the archive below one folder; every step can be broken off anywhere, and done again.

    Attributes
    ----------
    problem : why nothing can be delivered now; None: it can

    Raises
    ------
    ConfigError : ``archive`` is set to what can't be
    """

    def __init__(self, config: Config):
        self.settings = config.archive
        self.archive = PacketArchive(ROOT / config.archive.folder)
        self.remote = Remote(self.settings.remote, self.settings.remote_options) if self.settings.remote else None
        self.notices = _notices(config)
        self.problem: str | None = None
        self._again, self._failures = 0.0, 0
        self._nights: dict[tuple[str, str], tuple[int, Night]] = {}

    def step(self) -> None:
        """What is due is closed; what is closed is delivered, unless that failed lately: then it is tried again, ever more rarely."""
        self.close_due()
        if time.monotonic() < self._again:
            return
        try:
            self.deliver()
            self.problem, self._failures = None, 0
        except ArchiveUnavailable as error:
            self.problem, self._failures = str(error), self._failures + 1
            wait = delay(error, self._failures)
            self._again = time.monotonic() + wait
            log.warning("%s; again in %.0f s", error, wait)

    def close_due(self) -> None:
        """Files that nobody will add to are closed."""
        for night in self._look():
            for file in night.open:
                if self._is_due(file) and seal(file.path):
                    log.info("%s closed", file.name)

    def deliver(self) -> None:
        """What is closed is in the remote store, and told of.

        Raises
        ------
        ArchiveUnavailable : one of them takes nothing now
        """
        for night in self._look():
            for file in night.todo:
                self._deliver(file)

    def close(self, survey: str, night: str) -> int:
        """All files of a night are closed, however young they are; how many were not. Who still writes begins new ones."""
        files = [file for file in self.archive.files(survey, night) if file.seal is None]
        return sum(seal(file.path) is not None for file in files)

    def figures(self) -> dict[str, Any]:
        """What there is, and what waits."""
        nights = list(self._look())
        waiting = [file for night in nights for file in (*night.open, *night.todo)] if self.remote else []
        return {
            "packets": sum(night.packets for night in nights),
            "gigabytes": round(sum(night.bytes for night in nights) / 1e9, 3),
            "files": sum(night.files for night in nights),
            "open": sum(len(night.open) for night in nights),
            "to_upload": len(waiting),
            "gigabytes_to_upload": round(sum(_size(file.path) for file in waiting) / 1e9, 3),
            "undelivered_because": self.problem,
            "gigabytes_free": round(_free(self.archive.folder) / 1e9, 3),
        }

    def show(self) -> dict[str, Any]:
        """What `figures` says, to Prometheus as well."""
        figures = self.figures()
        shown = {
            "packets": PACKETS,
            "gigabytes": GIGABYTES,
            "open": OPEN,
            "to_upload": TO_UPLOAD,
            "gigabytes_free": FREE,
        }
        for name, gauge in shown.items():
            gauge.set(figures[name])
        return figures

    def _look(self) -> list[Night]:
        """The nights as they are; those that are settled are not read again until their folder changes."""
        found = {}
        for survey in self.archive.surveys():
            for night in self.archive.nights(survey):
                changed = (self.archive.folder / survey / night).stat().st_mtime_ns
                before = self._nights.get((survey, night))
                if before is None or before[0] != changed or not before[1].settled:
                    before = changed, self._read(survey, night)
                found[survey, night] = before
        self._nights = found
        return [night for _, night in found.values()]

    def _read(self, survey: str, name: str) -> Night:
        night = Night()
        for file in self.archive.files(survey, name):
            night.files += 1
            night.bytes += _size(file.path)
            if file.seal is None:
                night.open.append(file)
                night.packets += len({entry.identity for entry in file.entries})
            else:
                night.packets += file.seal["packets"]
                if not self._is_done(file):
                    night.todo.append(file)
        return night

    def _is_due(self, file: ArchiveFile) -> bool:
        """Whether nobody will add to a file: it is full, or nothing came for a while."""
        try:
            idle = time.time() - file.path.with_suffix(INDEX).stat().st_mtime
        except FileNotFoundError:  # lost
            idle = time.time() - file.path.stat().st_mtime
        return idle >= self.settings.close_after or _size(file.path) >= self.settings.segment_bytes

    def _is_done(self, file: ArchiveFile) -> bool:
        said = file.seal or {}
        uploaded = self.remote is None or said["uploaded"] == f"{self.remote.url}/{file.name}"
        return uploaded and (self.notices is None or said["noticed"] is not None)

    def _deliver(self, file: ArchiveFile) -> None:
        """A closed file is uploaded and told of, each where it is asked for; the seal says so."""
        said = dict(file.seal or {})
        if self.remote and said["uploaded"] != f"{self.remote.url}/{file.name}":
            said["uploaded"] = self.remote.put(file)
            write_whole(file.path.with_suffix(SEAL), said)
            log.info("%s uploaded: %s", file.name, said["uploaded"])
        if self.notices and said["noticed"] is None:
            said["noticed"] = self.notices.send(said)
            write_whole(file.path.with_suffix(SEAL), said)


def _notices(config: Config) -> Notices | None:
    topic, output = config.archive.notices_topic, config.kafka.output
    if topic is None:
        return None
    if output.bootstrap_servers is None:
        raise ConfigError("archive.notices_topic is set: set kafka.output.bootstrap.servers, which gets the notices")
    return Notices(topic, output.bootstrap_servers, output.options)


def _free(folder: Path) -> int:
    """Bytes that there is room for, in the folder or where it will be."""
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it held nothing, and is gone
        return 0
