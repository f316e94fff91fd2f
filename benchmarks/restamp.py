"""Many packets from a few: real ones with new ids, times and positions, every object new."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from kowalski.alerts.decode import decode, open_container
from kowalski.alerts.survey import Survey
from kowalski.errors import StreamError

JD_KEYS = ("jd", "jdstarthist", "jdendhist")


def restamped(folder: Path, survey: Survey, n: int, night_jd: float, seed: int = 1) -> Iterator[bytes]:
    """``n`` packets made from a survey's in a folder in turn; jds end in the night that begins at ``night_jd``.

    Raises
    ------
    StreamError : the folder holds no packet
    """
    originals: list[tuple[Any, Any]] = []
    for path in sorted(folder.rglob("*.avro")):
        data = path.read_bytes()
        schema, _ = open_container(data)
        originals += [(record, schema) for record in decode(data)]
    if not originals:
        raise StreamError(f"{folder} holds no .avro file")
    rng = np.random.default_rng(seed)
    for number in range(n):
        record, schema = originals[number % len(originals)]
        stream = BytesIO()
        fastavro.writer(stream, schema, [_renewed(record, survey, number, night_jd, rng)])
        yield stream.getvalue()


def _renewed(
    record: dict[str, Any], survey: Survey, number: int, night_jd: float, rng: np.random.Generator
) -> dict[str, Any]:
    candidate = record["candidate"]
    shift = night_jd + number * 1e-5 - candidate["jd"]
    candid = 3_000_000_000_000_000_000 + number * 1000
    ra, dec = float(rng.uniform(0, 360)), float(np.degrees(np.arcsin(rng.uniform(-0.5, 1))))
    return {
        **record,
        survey.object_id: f"{survey.name}99{number:07d}",
        "candid": candid,
        "candidate": {**_later(candidate, shift), "candid": candid, "ra": ra, "dec": dec},
        "prv_candidates": _history(record.get("prv_candidates"), shift, candid),
        **({"fp_hists": _history(record["fp_hists"], shift, candid)} if "fp_hists" in record else {}),
    }


def _history(points: list[dict[str, Any]] | None, shift: float, candid: int) -> list[dict[str, Any]] | None:
    if points is None:
        return None
    renewed = []
    for place, point in enumerate(points, 1):
        later = _later(point, shift)
        if point.get("candid") is not None:
            later["candid"] = candid - place
        renewed.append(later)
    return renewed


def _later(point: dict[str, Any], shift: float) -> dict[str, Any]:
    return point | {key: point[key] + shift for key in JD_KEYS if point.get(key) is not None}
