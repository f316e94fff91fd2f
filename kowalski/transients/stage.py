"""The worker's stage for extragalactic transients: judges a batch's alerts, has Kafka told of candidates, and asks for their fits."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from kowalski.alerts.document import Alert
from kowalski.alerts.survey import Survey
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase
from kowalski.database.fits import Fits, Request
from kowalski.database.outbox import Outbox
from kowalski.outbox.transients import extragalactic_entry
from kowalski.outbox.withdrawals import withdraw_late
from kowalski.settings import Config
from kowalski.transients.extragalactic import Verdict, judge
from kowalski.transients.host import host_of

Objects = Mapping[str, Mapping[str, Any]]


class TransientStage:
    """Finds the extragalactic candidates of one survey; every step can be repeated, and changes nothing then."""

    def __init__(self, survey: Survey, config: Config, database: MongoDatabase, outbox: Outbox):
        self.survey = survey
        self._settings = config.transients
        self._publishing = config.kafka.output.bootstrap_servers is not None
        self._outbox, self._fits, self._alerts = outbox, Fits(database), Alerts(database, survey)

    def process(self, alerts: Iterable[Alert], objects: Objects, telling: bool, now: datetime) -> int:
        """How many of some alerts are candidates, after all that these cause is stored durably.

        Parameters
        ----------
        objects : the objects' documents as stored
        telling : whether Kafka is told, where there is one
        """
        found = [
            (alert, verdict)
            for alert in alerts
            if (verdict := judge(alert.document, objects[alert.object_id], self.survey, self._settings.cuts)).passed
        ]
        if not found:
            return 0
        if telling and self._publishing:
            entries = [
                extragalactic_entry(self._alert(alert), self._record(alert, objects[alert.object_id], verdict), now)
                for alert, verdict in found
            ]
            self._outbox.add(entries)
            withdraw_late(entries, self._alerts, self._outbox)
        self._fits.request((Request(**self._alert(alert), publish=telling) for alert, _ in found), now)
        return len(found)

    def _alert(self, alert: Alert) -> dict[str, Any]:
        return {
            "survey": self.survey.name,
            "objectId": alert.object_id,
            "candid": alert.candid,
            "jd": alert.jd,
            "kafka": alert.document["kafka"],
        }

    def _record(self, alert: Alert, aux: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
        """What Kafka is told of a candidate."""
        candidate, survey = alert.candidate, self.survey
        host = host_of(aux.get("cross_matches") or {}, alert.ra, alert.dec, self._settings.salt2.redshifts)
        scores = alert.document["classifications"]
        return {
            "ra": alert.ra,
            "dec": alert.dec,
            "programid": candidate.get(survey.program_field) if survey.program_field else None,
            "fid": survey.fid_of(candidate),
            "magpsf": candidate.get("magpsf"),
            "sigmapsf": candidate.get("sigmapsf"),
            "reason": verdict.reason,
            "detail": verdict.detail,
            "z": host.z if host else None,
            "z_source": host.catalog if host else None,
            "classifications": {name: score for name, score in scores.items() if isinstance(score, float)},
        }
