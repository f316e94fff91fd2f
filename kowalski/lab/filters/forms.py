"""The forms of the filter pages."""

import ast
import json
import math
import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from pydantic import Field, ValidationError

from kowalski.alerts.times import jd_of
from kowalski.api.errors import BadRequest, explain
from kowalski.api.models.fields import Body
from kowalski.api.models.filters import Change, FilterId, NewVersion, Replay, ToExplain
from kowalski.api.models.queries import FieldName
from kowalski.lab.incoming import Text
from kowalski.nesting import LEVELS, is_too_deep

#: alerts that a bar may stand for
MOST_COUNTED = 10**12
#: stands for an id that is not chosen yet
UNCHOSEN = 2**63 - 1
#: d by which a night ends before the next begins
MOMENT = 1e-8


class Draft(Body):
    """A filter as it is being written. Fields of an existing filter that are not in the form stay as they are."""

    filter_id: Text = ""
    group_id: Text = ""
    catalog: Text = ""
    permissions: Text | None = None
    surveys: Text | None = None
    watchlists: Text | None = None
    pipeline: Text = ""
    alert: Text = ""
    night: Text = ""
    field: Text = "candidate.magpsf"
    compared: bool = False
    new: bool = False

    def version(self, group: int | None = None) -> NewVersion:
        """What would be sent to ``POST /api/filters``; ``group``: in whose name it is tried while none is chosen.

        Raises
        ------
        BadRequest : something in it has no meaning
        """
        told: dict[str, Any] = {"catalog": self.catalog, "pipeline": self.pipeline}
        told["filter_id"] = self.filter_id or (UNCHOSEN if group is not None else None)
        told["group_id"] = self.group_id or group
        if self.new:
            told["permissions"] = _numbers("permissions", self.permissions or "")
            told["surveys"] = _mapping("surveys", self.surveys or "")
            told["watchlists"] = [name.strip() for name in (self.watchlists or "").split(",") if name.strip()]
        try:
            return NewVersion.model_validate(told)
        except ValidationError as error:
            raise BadRequest(explain(error)) from None

    def explained(self) -> ToExplain:
        """The alert, or the object, to explain it on."""
        text = self.alert.strip()
        if not text:
            raise BadRequest("Which alert? Give a candid or an object's id.")
        is_candid = re.fullmatch(r"-?[0-9]{1,19}", text)
        try:
            return ToExplain.model_validate({"candid": int(text)} if is_candid else {"objectId": text})
        except ValidationError as error:
            raise BadRequest(explain(error)) from None

    def replayed(self) -> Replay:
        """The night (UTC date) to replay it over."""
        try:
            begin = jd_of(datetime.combine(date.fromisoformat(self.night.strip()), time(tzinfo=UTC)))
        except ValueError:
            raise BadRequest("Which night? Give its date, YYYY-MM-DD.") from None
        return Replay.model_validate({"start": begin, "end": begin + 1 - MOMENT})

    def drawn_field(self) -> str:
        """The field of alerts of which a histogram is wanted."""
        try:
            return _Named(name=self.field.strip()).name
        except ValidationError:
            raise BadRequest(f"{self.field!r:.100} is no field of an alert") from None


class _Named(Body):
    name: FieldName


class Wanted(Body):
    """Which version of a filter, and on which alert and night it may be tried; or two versions, to be compared."""

    filter_id: FilterId
    fid: Text | None = None
    a: Text | None = None
    b: Text | None = None
    alert: Text = ""


class Fresh(Body):
    """The survey of a new filter."""

    catalog: Text = ""


class Alteration(Body):
    """What changes of a filter, by the buttons and fields of its page."""

    active: bool | None = None
    active_fid: Text | None = None
    autosave: Text | None = None
    auto_followup: Text | None = None
    update_annotations: bool | None = None

    def change(self, filter_id: int) -> Change:
        """The same as ``PATCH /api/filters`` takes it."""
        told = self.model_dump(exclude_none=True) | {"filter_id": filter_id}
        for name in ("autosave", "auto_followup"):
            if name in told:
                told[name] = _json(name, told[name])
        try:
            return Change.model_validate(told)
        except ValidationError as error:
            raise BadRequest(explain(error)) from None


class Bars(Body):
    """A histogram that is counted already."""

    title: Annotated[str, Field(max_length=200)] = ""
    x: Annotated[str, Field(max_length=200)] = ""
    edges: str
    counts: str
    theme: Annotated[str, Field(pattern="^(dark|light)$")] = "light"

    def numbers(self) -> tuple[list[float], list[int]]:
        """Edges, and the counts between them."""
        try:
            edges = [float(each) for each in self.edges.split(",")][:200]
            counts = [min(int(each), MOST_COUNTED) for each in self.counts.split(",")][:200]
        except ValueError:
            raise BadRequest("edges and counts: numbers, with commas between them") from None
        if not all(map(math.isfinite, edges)):
            raise BadRequest("edges: finite numbers")
        if len(edges) != len(counts) + 1:
            raise BadRequest("edges: one more than counts")
        return edges, counts


def _numbers(name: str, text: str) -> list[int]:
    try:
        return [int(each) for each in text.replace("[", "").replace("]", "").split(",") if each.strip()]
    except ValueError:
        raise BadRequest(f"{name}: whole numbers with commas between them, not {text!r:.100}") from None


def _mapping(name: str, text: str) -> Any:
    return _json(name, text) if text.strip() else {}


def _json(name: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        try:
            value = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise BadRequest(f"{name}: not valid JSON: {error}") from None
    if is_too_deep(value):
        raise BadRequest(f"{name} is nested deeper than {LEVELS} levels")
    return value
