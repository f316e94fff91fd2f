"""The packet that an alert is verified with: out of the packet archive, or else what the stored alert still has of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Alert, read_batch, read_record
from kowalski.alerts.lightcurve import as_of
from kowalski.alerts.points import plain
from kowalski.alerts.survey import Survey
from kowalski.alerts.wire import Schemas
from kowalski.archive.packets.reading import Kept, PacketArchive
from kowalski.errors import ArchiveError, PacketError, VerifyError
from kowalski.filters.enrich import OWN

Document = Mapping[str, Any]

#: fields of a stored alert that no packet has
OURS = frozenset({"_id", "classifications", "coordinates", *OWN})


@dataclass(frozen=True, slots=True)
class Source:
    """An alert made of a packet anew.

    Attributes
    ----------
    archived : whether it is made of the packet as received; else of what the stored alert and its object have of it
    remark : what is to be said of it
    """

    alert: Alert
    archived: bool
    remark: str


def source_of(stored: Document, aux: Document, survey: Survey, archive: PacketArchive, schemas: Schemas) -> Source:
    """The alert anew: of the message that brought it, of another with the same alert, or of what is stored, the first that is to be had.

    Raises
    ------
    VerifyError : the message can't be read any more, or the stored alert has not enough of it
    """
    problem = f"{archive.folder} holds no packet of it"
    for found, said in _kept(stored, survey, archive):
        try:
            data = found.received() if found.whole is not None else found.fixed()
        except ArchiveError as error:
            problem = f"the archived packet can't be read ({error})"
            continue
        if data is not None:
            return Source(_read(data, found, int(stored["candid"]), survey, schemas), True, said)
    remark = f"{problem}: verified with what the stored alert has of it, so its fields are compared with nothing"
    return Source(rebuilt(stored, aux, survey), False, remark)


def _kept(stored: Document, survey: Survey, archive: PacketArchive) -> Iterator[tuple[Kept, str]]:
    """The archived messages, the one that brought the alert before others; and what is to be said of each."""
    origin = stored.get("kafka") or {}
    night = survey.night_of(origin.get("topic") or "")
    candid = int(stored["candid"])
    found = (archive.find(candid, survey.name, night) if night else []) or archive.find(candid, survey.name)
    place = tuple(origin.get(name) for name in ("topic", "partition", "offset"))
    places = [(each.entry.topic, each.entry.partition, each.entry.offset) for each in found]
    for own, each in sorted(zip((one == place for one in places), found, strict=True), key=lambda pair: not pair[0]):
        named = f"{each.entry.topic}:{each.entry.partition}:{each.entry.offset}"
        said = f"packet {named} of the archive"
        yield each, said if own or not origin else f"{said}, which is not the message that brought the alert"


def _read(data: bytes, kept: Kept, candid: int, survey: Survey, schemas: Schemas) -> Alert:
    entry = kept.entry
    packet = Packet(data, entry.topic, entry.partition, entry.offset, entry.timestamp, kept=True)
    alerts, refusals = read_batch([packet], survey, schemas)
    for alert in alerts:
        if alert.candid == candid:
            return alert
    why = f"{refusals[0].reason}: {refusals[0].detail}" if refusals else f"it holds no alert {candid}"
    raise VerifyError(f"candid {candid}: its archived packet can't be processed any more: {why}")


def rebuilt(stored: Document, aux: Document, survey: Survey) -> Alert:
    """The alert of what is stored: its document, and its object's history as it was known then.

    Raises
    ------
    VerifyError : something that each packet has is not there
    """
    record = {name: value for name, value in stored.items() if name not in OURS}
    jd = (record.get("candidate") or {}).get("jd")
    if isinstance(jd, float):
        record |= {each.field: [plain(point) for point in as_of(aux, each, jd)] for each in survey.histories}
    origin = stored.get("kafka") or {}
    message = {name: origin[name] for name in ("topic", "partition", "offset", "timestamp") if name in origin}
    try:
        alert = read_record(record, Packet(b"", **message), survey)
    except PacketError as error:
        raise VerifyError(f"candid {stored['candid']}: no packet to verify it with: none is archived, and of the stored alert it can't be made again: {error}") from None  # fmt: skip
    if "coordinates" in stored:
        alert.document["coordinates"] = stored["coordinates"]
    return alert
