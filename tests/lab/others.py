"""Real alerts of the smaller surveys in the observed night's database, through the real worker of each."""

from contextlib import closing
from pathlib import Path
from typing import Any

from night import Observed

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.decode import Packet
from kowalski.alerts.survey import get_survey
from kowalski.config import build, settings_tree
from kowalski.night.packets import packets_from

#: survey -> folder of its packets; LSST's names its schema by itself
FOLDERS = {"PGIR": "pgir_alerts", "WNTR": "wntr_alerts", "TURBO": "turbo_alerts", "LSST": "lsst_alerts/v10"}


def observe_others(night: Observed, data: Path) -> dict[str, list[tuple[str, int]]]:
    """The packets of all these surveys are stored; survey -> object and candid of each alert."""
    tree: dict[str, Any] = settings_tree([], {})
    tree["ml"] = tree["ml"] | {"backend": "onnx", "allow_stand_ins": True}
    config = build(tree).model_copy(update={"database": night.settings})
    stored = {}
    for name, folder in FOLDERS.items():
        survey = get_survey(name)
        worker = AlertWorker(survey, config)
        with closing(worker.alerts.collection.database.client), closing(worker.filters.filters.reader.client):
            for room in (worker.alerts, worker.objects, worker.linker.links):
                room.ensure_indexes()
            found = packets_from(f"dir:{data / folder}")
            packets = [Packet(each.data, f"{name.lower()}_night", 0, offset) for offset, each in enumerate(found)]
            report = worker.process(packets)
            assert (report.stored, report.quarantined) == (len(packets), {})
            rows = night.database[survey.alerts].find({}, {survey.object_id: 1, "candid": 1}).sort("candid", 1)
            stored[name] = [(row[survey.object_id], row["candid"]) for row in rows]
    return stored
