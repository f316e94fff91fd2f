"""Reads packets and stamps under a limit of memory: ``python bounded_reader.py FOLDER MEMORY``, what becomes of each as a line of JSON.

Packets are the files ``*.packet``, read as ZTF's and taken up to the merge; stamps are the files ``*.stamp``.
"""

import json
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.decode import Packet
from kowalski.alerts.document import arrival, read_batch
from kowalski.alerts.drift import DriftWatch
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.schemas import own_schema
from kowalski.alerts.survey import get_survey
from kowalski.errors import PacketError

ZTF = get_survey("ZTF")
WATCH = DriftWatch(ZTF, lambda: own_schema(ZTF, lambda number: None))


def packet(data: bytes) -> dict[str, Any]:
    """The reason of the refusal, the schema's differences apart, or how many points the object has then."""
    alerts, refusals = read_batch([Packet(data)], ZTF, accept=WATCH)
    if refusals:
        alerts, refusals = read_batch([Packet(data)], ZTF)
    if refusals:
        return {"reason": refusals[0].reason, "detail": refusals[0].detail[:200]}
    document = merged({}, [arrival(alert, ZTF) for alert in alerts], ZTF)
    return {"reason": None, "points": len(document["prv_candidates"]) + len(document["fp_hists"])}


def stamp(data: bytes) -> dict[str, Any]:
    """The reason of the refusal."""
    try:
        read_stamp(data)
    except PacketError as error:
        return {"reason": error.reason, "detail": error.detail[:200]}
    return {"reason": None}


def main(folder: Path, memory: int) -> None:
    packet(b"")  # what is imported late is there before the limit
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        begin = time.perf_counter()
        became = packet(data) if path.suffix == ".packet" else stamp(data)
        seconds = time.perf_counter() - begin
        # of getrusage it would be that of the process that started this one, too
        peak = 1024 * int(re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0])
        print(
            json.dumps({"name": path.stem, **became, "seconds": seconds, "peak": peak, "size": len(data)}), flush=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
