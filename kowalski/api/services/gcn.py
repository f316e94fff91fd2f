"""Events that notices told of, each with the alerts in its sky map that a user may see."""

from datetime import datetime
from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.api.services.rights import User
from kowalski.database.gcn import Document, GcnEvents


class GcnService:
    """Shows events; what it tells of alerts is of those alone that the user may see, their ranks and number included."""

    def __init__(self, events: GcnEvents):
        self.events = events

    def close(self) -> None:
        """End the connections."""
        self.events.close()

    async def latest(self, user: User, limit: int, skip: int) -> list[Document]:
        """Events, the latest noticed first, each with the number of its alerts in place of these."""
        shown = [_shown(document, user) for document in await self.events.latest(limit, skip)]
        return [{**event, "alerts": len(event["alerts"])} for event in shown]

    async def event(self, name: str, user: User) -> Document:
        """One event.

        Raises
        ------
        BadRequest : no notice told of it
        """
        found = await self.events.find(name)
        if found is None:
            raise BadRequest(f"no notice told of the event {name}")
        return _shown(found, user)


def _shown(document: Document, user: User) -> Document:
    alerts = [alert for alert in document.get("alerts", []) if _sees(user, alert)]
    ranked = [{**alert, "rank": rank} for rank, alert in enumerate(alerts, 1)]
    rest = {key: value for key, value in document.items() if key not in ("_id", "skymap")}
    told: Document = _plain({"event": document["_id"], "retracted": False, "test": False, **rest, "alerts": ranked})
    return told


def _plain(value: Any) -> Any:
    """A value with its dates as text (ISO 8601, UTC)."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _sees(user: User, alert: dict[str, Any]) -> bool:
    """Whether a user may see an alert: of all of its survey, or of its programme."""
    seen = user.sees(alert["survey"])
    return seen is True or (bool(seen) and alert.get("programid") in seen)  # type: ignore[operator]
