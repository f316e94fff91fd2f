"""Packets of a night from a folder or a tarball, one after the other."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from kowalski.alerts.decode import Packet
from kowalski.errors import StreamError

SUFFIX = ".avro"


def packets_from(source: str) -> Iterator[Packet]:
    """The packets of ``dir:PATH`` (searched recursively, in the order of their names) or ``tar:PATH``.

    A packet is known by its path: that is its topic, its number in the source its offset.

    Raises
    ------
    StreamError : there is no such folder or tarball, or no packet in it
    """
    kind, _, path = source.partition(":")
    readers = {"dir": _from_folder, "tar": _from_tarball}
    if kind not in readers or not path:
        raise StreamError(f"{source}: give kafka, dir:PATH, tar:PATH or quarantine")
    number = -1
    for number, (name, data) in enumerate(readers[kind](Path(path))):
        yield Packet(data, topic=f"{kind}:{name}", offset=number)
    if number < 0:
        raise StreamError(f"{path} holds no {SUFFIX} file")


def _from_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    if not folder.is_dir():
        raise StreamError(f"{folder} is not a folder")
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        yield path.name, path.read_bytes()


def _from_tarball(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile() and member.name.endswith(SUFFIX):
                    file = tar.extractfile(member)
                    assert file is not None  # a regular file has content
                    yield member.name, file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise StreamError(f"{path} can't be read as a tarball: {error}") from None
