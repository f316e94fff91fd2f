"""A survey's first declaration, read of one of its packets: what each field is, by its name and type."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kowalski.alerts.drift import Fields, unmet
from kowalski.errors import SchemaError

#: role of a cutout -> parts of names that it goes by
ROLES = {"science": ("sci", "new"), "template": ("templ", "ref"), "difference": ("diff", "sub")}
#: what the chain takes from a packet under these names, whatever the survey
COMMON = {"candid": "integer", "candidate": "record"}
MEASURED = dict.fromkeys(("jd", "ra", "dec", "magpsf", "sigmapsf"), "number")
#: what it takes where it is there
OPTIONAL = {"fid": "integer", "programid": "integer"}
NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Draft:
    """What a packet says of its survey.

    Attributes
    ----------
    name : key of the survey
    object_id, cutouts, stamp_field, program_field : as `Survey` has them
    histories : lists of earlier points -> (name of the function that identifies a point, whether they are forced photometry)
    fids : numbers of the bands seen; None alone: points name no band
    left : lists that are no histories, since their items have no jd
    """

    name: str
    object_id: str
    cutouts: Mapping[str, str]
    stamp_field: str | None
    histories: Mapping[str, tuple[str, bool]]
    fids: tuple[int | None, ...]
    program_field: str | None
    left: tuple[str, ...]


def read_draft(name: str, fields: Fields, records: Iterable[Mapping[str, Any]], object_id: str | None = None) -> Draft:
    """The draft of a survey whose packets have these fields and, in one of them, these records.

    Parameters
    ----------
    object_id : the field that identifies the object, where its name doesn't say so

    Raises
    ------
    SchemaError : they lack something; the text names all of it
    """
    lacks, texts = _common_lacks(fields), [path for path in _outermost(fields) if "text" in fields[path]]
    object_id = object_id or _object_id(texts)
    if object_id not in texts:
        which = (
            "which text identifies the object can't be told" if object_id is None else f"{object_id} is no text of it"
        )
        lacks.append(f"{which}: give --object-id one of {', '.join(texts) or 'none'}")
    cutouts, stamp_fields = _cutouts(fields)
    for role in (role for role in ROLES if role not in cutouts):
        lacks.append(f"there is no one cutout of the {role} image, bytes or a record with bytes, named so")
    if len(stamp_fields) > 1:
        lacks.append("the cutouts keep their bytes each in another way")
    if lacks or object_id is None:
        raise SchemaError("\n  ".join(["the packet lacks what every survey's have:", *lacks]))
    lists = [path for path in _outermost(fields) if "array" in fields[path]]
    histories = {path: _history(path, fields) for path in lists if fields.get(f"{path}[].jd", NONE) & {"number"}}
    draft = Draft(
        name=name,
        object_id=object_id,
        cutouts=cutouts,
        stamp_field=stamp_fields.pop(),
        histories=histories,
        fids=_fids(records, histories) if "candidate.fid" in fields else (None,),
        program_field="programid" if "candidate.programid" in fields else None,
        left=tuple(path for path in lists if path not in histories),
    )
    _require_names(draft)
    return draft


def _require_names(draft: Draft) -> None:
    """What goes into a program's text is names and no more, whoever made the packet."""
    for name in (draft.object_id, draft.stamp_field or "bytes", *draft.cutouts.values(), *draft.histories):
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            raise SchemaError(f"the packet has a field that Avro doesn't allow: {name!r}")


def _outermost(fields: Fields) -> list[str]:
    return [path for path in fields if not set(".[{") & set(path)]


def _common_lacks(fields: Fields) -> list[str]:
    """What is missing of the fields whose names are the same for all."""
    lacks = unmet(fields, COMMON)
    if "record" not in fields.get("candidate", NONE):
        return [*lacks, f"with {', '.join(MEASURED)} and isdiffpos in it"]
    if "candidate.isdiffpos" not in fields:
        lacks.append("candidate.isdiffpos is missing, boolean or text needed")
    needs = MEASURED | {name: kind for name, kind in OPTIONAL.items() if f"candidate.{name}" in fields}
    return lacks + unmet(fields, {f"candidate.{name}": kind for name, kind in needs.items()})


def _object_id(texts: list[str]) -> str | None:
    """The one text that is called objectId, in whatever way that is written."""
    found = [path for path in texts if path.lower().replace("_", "") == "objectid"]
    return found[0] if len(found) == 1 else None


def _cutouts(fields: Fields) -> tuple[dict[str, str], set[str | None]]:
    """Role -> name of the field, for roles that one field alone has; and where these keep their bytes: None, in themselves."""
    stamps: dict[str, str | None] = {}
    for path in _outermost(fields):
        inner = [
            name
            for name, kinds in fields.items()
            if "bytes" in kinds and re.fullmatch(rf"{re.escape(path)}\.\w+", name)
        ]
        if "bytes" in fields[path]:
            stamps[path] = None
        elif len(inner) == 1:
            stamps[path] = inner[0].rpartition(".")[2]
    found = {role: [name for name in stamps if any(part in name.lower() for part in ROLES[role])] for role in ROLES}
    cutouts = {role: names[0] for role, names in found.items() if len(names) == 1}
    return cutouts, {stamps[name] for name in cutouts.values()}


def _history(path: str, fields: Fields) -> tuple[str, bool]:
    by_candid = "integer" in fields.get(f"{path}[].candid", NONE)
    return "detection_or_limit" if by_candid else "by_jd", f"{path}[].forcediffimflux" in fields


def _fids(records: Iterable[Mapping[str, Any]], histories: Iterable[str]) -> tuple[int | None, ...]:
    points = [point for record in records for point in (record["candidate"], *_points(record, histories))]
    return tuple(sorted({point["fid"] for point in points if point is not None and point.get("fid") is not None}))


def _points(record: Mapping[str, Any], histories: Iterable[str]) -> list[Any]:
    return [point for name in histories for point in record[name] or ()]


def declaration(draft: Draft) -> str:
    """The text of the survey's module, with a comment where its author has to decide."""
    module = draft.name.lower()
    prepare = "with_programme" if draft.program_field else "without_nulls"
    imported = sorted(
        {identity for identity, _ in draft.histories.values()} | ({prepare} if draft.histories else set())
    )
    lines = [
        f'"""{draft.name}: all that is particular to it.',
        "",
        f"python -m kowalski.alert_broker_{module} [--obsdate YYYYMMDD] [--topic TOPIC] [--from earliest|latest|TIME] [--test]",
        '"""',
        "",
        *([f"from kowalski.alerts.lightcurve import {', '.join(imported)}"] if imported else []),
        f"from kowalski.alerts.survey import {'History, ' if draft.histories else ''}Survey",
        "",
        "SURVEY = Survey(",
        f'    name="{draft.name}",',
        "    # decide: regular expression of a night's topics; {date} stands for YYYYMMDD",
        f'    topic="{module}_{{date}}",',
        *([f'    object_id="{draft.object_id}",'] if draft.object_id != "objectId" else []),
        "    cutouts={",
        *(f'        "{role}": "{draft.cutouts[role]}",' for role in ROLES),
        "    },",
        *([f'    stamp_field="{draft.stamp_field}",'] if draft.stamp_field else []),
        *_histories(draft, prepare),
        '    # decide: SkyPortal\'s name of each band, e.g. "sdssr"; points of a band without one are not sent',
        "    bands={",
        *(f"        {fid}: None," for fid in draft.fids),
        "    },",
        *(["    band_field=None,"] if draft.fids == (None,) else []),
        *([f'    program_field="{draft.program_field}",'] if draft.program_field else []),
        "    # decide: SkyPortal's name of the instrument",
        f'    instrument="{draft.name}",',
        "    # decide: SkyPortal's name of the stream of each programme; under None, of all points",
        "    streams={",
        f'        None: "{draft.name}",',
        "    },",
        ")",
        "",
        "",
        'if __name__ == "__main__":',
        "    from kowalski.alert_broker import main",
        "",
        "    main(SURVEY)",
    ]
    return "\n".join(lines) + "\n"


def _histories(draft: Draft, prepare: str) -> list[str]:
    """The lines of the histories, as the formatter wants them."""
    points = [
        f'History("{field}", {identity}, {prepare}{", forced=True" if forced else ""}),'
        for field, (identity, forced) in draft.histories.items()
    ]
    if len(points) < 2 and len(short := f"    histories=({''.join(points)}),") <= 120:
        return [short]
    return ["    histories=(", *(f"        {point}" for point in points), "    ),"]


TEST = '''"""{name}: its packets are read, their cutouts and history with them, and stored once.

They are the simulator's, written in data/schemas/{module}_alert.avsc, and real ones, where ``KOWALSKI_TEST_DATA`` has {module}_alerts/.
"""

import random

import pytest
from bson.int64 import Int64
from surveys_harness import MakeWorker, aux_of, packets_of, simulated

from kowalski.alert_broker_{module} import SURVEY
from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Alert, read_batch


@pytest.fixture(params=["simulated", "real"])
def packets(request: pytest.FixtureRequest) -> list[Packet]:
    if request.param == "simulated":
        return simulated(SURVEY)
    return packets_of(request.getfixturevalue("test_data"), SURVEY) or pytest.skip("no real packets here")


@pytest.fixture
def alerts(packets: list[Packet]) -> list[Alert]:
    alerts, refusals = read_batch(packets, SURVEY)
    assert refusals == []
    return alerts


def test_documents_have_the_common_fields(alerts: list[Alert]) -> None:
    for alert in alerts:
        assert alert.document["objectId"] == alert.document[SURVEY.object_id] == alert.object_id
        assert isinstance(alert.document["candid"], Int64)
        assert {{"jd", "ra", "dec", "magpsf", "sigmapsf", "isdiffpos"}} <= alert.candidate.keys()
        assert not {{history.field for history in SURVEY.histories}} & alert.document.keys()


def test_cutouts_are_images(alerts: list[Alert]) -> None:
    for alert in alerts:
        assert all(read_stamp(stamp).ndim == 2 for stamp in SURVEY.stamps(alert.document))


def test_history_merges_in_any_order(alerts: list[Alert]) -> None:
    for object_id in {{alert.object_id for alert in alerts}}:
        own = [alert for alert in alerts if alert.object_id == object_id]
        merged = aux_of(own, SURVEY)
        assert aux_of(random.Random(1).sample(own, len(own)), SURVEY) == merged
        for history in SURVEY.histories:
            brought = {{history.identity(point) for alert in own for point in alert.histories[history.field]}}
            assert sorted(map(history.identity, merged[history.field])) == sorted(brought)


def test_packets_are_stored_once(make_worker: MakeWorker, packets: list[Packet]) -> None:
    worker = make_worker(SURVEY)
    first, again = worker.process(packets), worker.process(packets)
    assert (first.stored, first.quarantined) == (len(packets), {{}})
    assert (again.stored, again.known, again.quarantined) == (0, len(packets), {{}})
'''


def first_test(name: str) -> str:
    """The text of a survey's first test."""
    return TEST.format(name=name, module=name.lower())
