"""Filters as files, with alerts and the answers expected of them: for groups that keep their filters in a repository of their own.

filter_id: 12
group_id: 3
catalog: ZTF_alerts
permissions: [1, 2]
pipeline:
  - $match: {candidate.drb: {$gt: 0.9}}
  - $project: {annotations: {mag: $candidate.magpsf}}
autosave: {active: true, comment: looks real}
alerts:
  - packet: ZTF18abcdefg.avro           # beside this file
    classifications: {braai: 0.99}      # scores and matches that the chain would have added
    passes: true
    annotations: {mag: 17.2}
    autosave: true
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from bson import json_util
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Alert, arrival, read_batch
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.survey import Survey, known_surveys
from kowalski.errors import FilterError
from kowalski.filters.actions import AUTOSAVE_KEYS, FOLLOWUP_KEYS
from kowalski.filters.compile import parse_pipeline
from kowalski.filters.definition import CompiledFilter, compile_filter
from kowalski.filters.results import Pass
from kowalski.filters.watching import Watched
from kowalski.watchlists.matching import ListKey

FID = "file00"
ACTIONS = {"autosave": AUTOSAVE_KEYS, "auto_followup": FOLLOWUP_KEYS}
#: parts in a million by which numbers may differ from those expected
TOLERANCE = 1.0


class Expectation(BaseModel):
    """An alert and what is expected of it; what is not named may be anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    packet: str
    candid: int | None = Field(None, description="which, where the packet has several")
    classifications: dict[str, float] = {}
    cross_matches: dict[str, list[dict[str, Any]]] = {}
    watchlists: dict[str, list[dict[str, Any]]] = Field(
        {}, description="rows that the alert matches; none unless given"
    )
    passes: bool
    annotations: dict[str, Any] | None = None
    autosave: bool | None = None
    followup: bool | None = None


class FilterFile(BaseModel):
    """A filter as it stands in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filter_id: int = Field(ge=1)
    group_id: int = Field(ge=1)
    catalog: str
    permissions: list[int] = []
    surveys: dict[str, bool | list[int]] = {}
    watchlists: list[str] = []
    pipeline: list[dict[str, Any]]
    active: bool = True
    update_annotations: bool = False
    autosave: bool | dict[str, Any] = False
    auto_followup: dict[str, Any] = {}
    alerts: list[Expectation] = []

    @property
    def survey(self) -> Survey:
        """The survey whose alerts it reads; raises `FilterError` where there is none."""
        surveys = {survey.alerts: survey for survey in known_surveys()}
        if self.catalog not in surveys:
            raise FilterError(f"catalog {self.catalog} not in ({', '.join(surveys)})")
        return surveys[self.catalog]

    def stored(self) -> dict[str, Any]:
        """As it stands in the database."""
        fields = self.model_dump(exclude={"alerts", "pipeline"})
        return {
            **fields,
            **{name: _stored(fields[name]) for name in ACTIONS},
            "active": True,
            "active_fid": FID,
            "fv": [{"fid": FID, "pipeline": _text(self.pipeline)}],
        }

    def compiled(self) -> CompiledFilter:
        """Ready to run; raises `FilterError` for anything that is wrong with it."""
        assert self.survey
        stored = self.stored()
        compiled = compile_filter(stored)
        if compiled.problems:
            raise FilterError("; ".join(compiled.problems))
        for name, keys in ACTIONS.items():  # also where it is switched off
            value = stored[name] if isinstance(stored[name], dict) else {}
            if strange := sorted(value.keys() - keys):
                raise FilterError(f"{name}: no such keys: {', '.join(strange)}")
            if value.get("pipeline"):
                parse_pipeline(value["pipeline"])
        for expected in self.alerts:
            if strange := sorted(expected.watchlists.keys() - set(self.watchlists)):
                raise FilterError(f"{expected.packet}: the filter does not declare watchlists {', '.join(strange)}")
        if stored["auto_followup"] and compiled.autosave is None:
            raise FilterError("auto_followup needs autosave to be on")
        return compiled


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as it is in JSON, and not a text that no value ever equals."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))  # fmt: skip


def _stored(action: Any) -> Any:
    """Autosave or follow-up with its pipeline as it is stored."""
    if isinstance(action, dict) and isinstance(action.get("pipeline"), list):
        return {**action, "pipeline": _text(action["pipeline"])}
    return action


def _text(pipeline: list[Any]) -> str:
    """A pipeline as extended JSON."""
    try:
        return json_util.dumps(pipeline)
    except (TypeError, ValueError) as error:
        raise FilterError(f"pipeline: {error} (a date must have a time: 2024-01-01T00:00:00Z)") from None


def read_filter_file(path: Path) -> FilterFile:
    """The filter in a file.

    Raises
    ------
    FilterError : there is no such file, it is not YAML, or has other keys or values than it may
    """
    try:
        content = yaml.load(path.read_text(), _Loader)  # nosec B506  # a SafeLoader
    except OSError as error:
        raise FilterError(f"can't be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FilterError(f"not valid YAML: {error}") from None
    try:
        return FilterFile.model_validate(content)
    except ValidationError as error:
        raise FilterError("; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())) from None  # fmt: skip


def alerts_of(file: FilterFile, folder: Path) -> list[tuple[Expectation, Alert]]:
    """The alerts that a file names, each as the chain would have it before the filters.

    Raises
    ------
    FilterError : a packet is missing or can't be read
    """
    found = []
    for expected in file.alerts:
        path = folder / expected.packet
        try:
            alerts, refusals = read_batch([Packet(path.read_bytes())], file.survey)
        except OSError as error:
            raise FilterError(f"{path}: {error.strerror}") from None
        if refusals:
            raise FilterError(f"{path}: {refusals[0].reason}: {refusals[0].detail}")
        chosen = [alert for alert in alerts if expected.candid in (None, alert.candid)]
        if len(chosen) != 1:
            raise FilterError(f"{path} has {len(chosen)} such alerts: candid must name one of {[each.candid for each in alerts]}")  # fmt: skip
        chosen[0].document["classifications"] = dict(expected.classifications)
        found.append((expected, chosen[0]))
    return found


def objects_of(alerts: list[tuple[Expectation, Alert]], survey: Survey) -> dict[str, dict[str, Any]]:
    """The documents of the objects of some alerts, of all that their packets say."""
    objects: dict[str, dict[str, Any]] = {}
    for expected, alert in alerts:
        said = [arrival(other, survey) for _, other in alerts if other.object_id == alert.object_id]
        matches = {**objects.get(alert.object_id, {}).get("cross_matches", {}), **expected.cross_matches}
        objects[alert.object_id] = {**merged({}, said, survey), "cross_matches": matches}
    return objects


class Rehearsed:
    """Rows of watchlists as a file names them, in place of those that are stored."""

    def __init__(self, alerts: list[tuple[Expectation, Alert]]):
        self.rows = {alert.candid: expected.watchlists for expected, alert in alerts}

    def of(self, documents: Sequence[Mapping[str, Any]], keys: set[ListKey]) -> Watched:
        """As `Watching.of`."""
        return Watched({key: [self.rows[each["candid"]].get(key.name, []) for each in documents] for key in keys})


def differences(expected: Expectation, passed: Pass | None) -> list[str]:
    """What of an answer is not as expected."""
    if expected.passes != (passed is not None):
        return ["it was expected to pass" if expected.passes else "it was expected not to pass"]
    if passed is None:
        return []
    told = []
    if expected.annotations is not None and not _alike(expected.annotations, passed.annotations):
        told.append(f"annotations are {passed.annotations}, not {expected.annotations}")
    for name, wanted, done in (("autosave", expected.autosave, passed.autosave), ("followup", expected.followup, passed.follow_up)):  # fmt: skip
        if wanted is not None and wanted != (done is not None):
            told.append(f"{name}: {'yes' if done is not None else 'no'}")
    return told


def _alike(expected: Any, found: Any) -> bool:
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(_alike(expected[key], found[key]) for key in expected)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_alike, expected, found))
    if isinstance(expected, float) and isinstance(found, int | float):
        return abs(expected - found) <= 1e-6 * TOLERANCE * max(abs(expected), abs(found))
    return bool(expected == found)
