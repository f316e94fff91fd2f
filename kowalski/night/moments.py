"""Packets with their times, from a folder, a tarball or the packet archive."""

import re
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import read_batch
from kowalski.alerts.schemas import store_of
from kowalski.alerts.survey import Survey, known_surveys
from kowalski.errors import StreamError
from kowalski.night.kept import KeptNight
from kowalski.night.pace import Moment
from kowalski.night.packets import Tarball
from kowalski.settings import Config

JdOf = Callable[[bytes], float | None]
"""The jd of a packet's candidate; None: it can't be read."""


def jd_reader(survey: Survey, config: Config) -> JdOf:
    """What reads the jds of a survey's packets."""
    schemas = store_of(survey, config)

    def jd_of(data: bytes) -> float | None:
        alerts, _ = read_batch([Packet(data)], survey, schemas)
        return alerts[0].jd if alerts else None

    return jd_of


def without_jd(data: bytes) -> None:
    """Nothing: for those who don't ask when."""


def of_files(files: list[Path], jd_of: JdOf = without_jd) -> Iterator[Moment]:
    """The packets of some files, each read anew when it is asked for."""
    for file in files:
        yield Moment(str(file), file.read_bytes, jd_of(file.read_bytes()) if jd_of is not without_jd else None)


def of_tarball(path: Path, jd_of: JdOf = without_jd) -> Iterator[Moment]:
    """The packets of a tarball; for their jds to be compared they are put into a temporary file, as a tarball is read but from its begin.

    Raises
    ------
    StreamError : there is none in it, or, once all others were given, some can't be read
    """
    tarball, spool = Tarball(path), tempfile.TemporaryFile() if jd_of is not without_jd else None  # noqa: SIM115  # the moments read it
    for packet in tarball.packets():
        read = partial(bytes, packet.data)
        if spool is not None:
            read = partial(_reread, spool, spool.seek(0, 2), spool.write(packet.data))
        yield Moment(packet.topic, read, jd_of(packet.data))
    if tarball.problems:
        raise StreamError("; ".join(tarball.problems))


def of_archive(folder: Path, survey: Survey, night: str) -> Iterator[Moment]:
    """The messages of a night (YYYYMMDD) in the packet archive, as they were received."""
    for kept in KeptNight(folder, survey.name, night).messages():
        entry = kept.entry
        yield Moment(f"{entry.topic}:{entry.partition}:{entry.offset}", kept.received, entry.jd)


def survey_of(topic: str, config: Config) -> Survey:
    """The survey whose topics are called so.

    Raises
    ------
    StreamError : there is none, or there are several
    """
    surveys = [each.with_topic(config.kafka.topics.get(each.name)) for each in known_surveys()]
    found = [each for each in surveys if re.fullmatch(each.topic.format(date=r"\d{8}"), topic)]
    if len(found) != 1:
        raise StreamError(f"{topic} is a topic of {'no' if not found else 'more than one'} survey: add --survey")
    return found[0]


def _reread(spool: IO[bytes], position: int, size: int) -> bytes:
    spool.seek(position)
    return spool.read(size)
