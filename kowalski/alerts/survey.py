"""What generic code asks about a survey; the answers are one declaration in ``kowalski/alert_broker_<survey>.py``."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

import numpy as np

from kowalski.errors import ConfigError

#: module names that differ from the survey's key
MODULES = {"WNTR": "winter"}

Point = dict[str, Any]


@dataclass(frozen=True)
class History:
    """One list of earlier points that packets carry, and how copies of the same point merge.

    Attributes
    ----------
    field : name of the list, in packets and in aux documents
    identity : point -> key; two points with the same key are copies of one
    prepare : (points of a packet, its candidate) -> points as stored
    brightest_wins : the copy that the brightest alert brought is kept (forced photometry), else that of the latest packet
    """

    field: str
    identity: Callable[[Point], tuple[Any, ...]]
    prepare: Callable[[list[Point], Mapping[str, Any]], list[Point]]
    brightest_wins: bool = False


@dataclass(frozen=True)
class Survey:
    """One survey: names of its fields, bands, data rights, and how its history merges.

    Attributes
    ----------
    name : key in config, collections and routes, e.g. ``ZTF``
    topic : regular expression of a night's topics, with ``{date}`` for YYYYMMDD
    object_id : the packet's name of the object's identifier
    cutouts : role (science, template, difference) -> the packet's name
    stamp_field : key of the bytes inside a cutout; None where the cutout is the bytes
    histories : the lists of earlier points
    bands : fid -> SkyPortal's name of the band; None: points of that band are not sent
    band_field : field of a point that holds the fid
    program_field : field that holds the data-rights programme; None: the survey has none
    instrument : SkyPortal's name of the instrument
    streams : programme -> SkyPortal's name of the stream
    score_fields : candidate fields that may serve as SkyPortal's score, the first present one is taken
    history_days : d of history that a filter sees before its alert
    forced_ok : whether a forced point may be shown to filters and sent
    forced_complete : candidate -> whether the forced photometry of an object that begins with it is whole
    orient : image (ny, nx) -> image as shown
    alert_indexes : indexes of the alerts besides those that every survey has: name -> fields and directions
    """

    name: str
    topic: str
    cutouts: Mapping[str, str]
    histories: tuple[History, ...]
    bands: Mapping[int, str | None]
    instrument: str
    streams: Mapping[int, str]
    object_id: str = "objectId"
    stamp_field: str | None = None
    band_field: str = "fid"
    program_field: str | None = None
    score_fields: tuple[str, ...] = ("drb", "rb")
    history_days: float = 1000.0
    forced_ok: Callable[[Point], bool] = lambda point: True
    forced_complete: Callable[[Mapping[str, Any]], bool] = lambda candidate: True
    orient: Callable[[np.ndarray], np.ndarray] = lambda image: image
    alert_indexes: Mapping[str, list[tuple[str, int]]] = field(default_factory=dict)

    @property
    def alerts(self) -> str:
        """Collection of the alerts."""
        return f"{self.name}_alerts"

    @property
    def aux(self) -> str:
        """Collection of the objects: light curves and matches."""
        return f"{self.name}_alerts_aux"

    @property
    def classifications(self) -> str:
        """Collection of the labels that people gave to alerts."""
        return f"{self.name}_alerts_classifications"

    def stamp(self, packet: Mapping[str, Any], role: str) -> bytes:
        """The bytes of one cutout (gzipped FITS for most surveys)."""
        cutout = packet[self.cutouts[role]]
        return cutout if self.stamp_field is None else cutout[self.stamp_field]

    def stamps(self, packet: Mapping[str, Any]) -> tuple[bytes, bytes, bytes]:
        """Science, template and difference stamp."""
        return self.stamp(packet, "science"), self.stamp(packet, "template"), self.stamp(packet, "difference")

    def topics_of(self, nights: list[date]) -> str:
        """Regular expression of the topics of some nights, anchored as librdkafka wants it."""
        dates = "|".join(f"{night:%Y%m%d}" for night in nights)
        return f"^{self.topic.format(date=f'({dates})')}$"

    def night_of(self, topic: str) -> str | None:
        """The night (YYYYMMDD) that a topic holds, if it is one of this survey's."""
        found = re.fullmatch(self.topic.format(date=r"(\d{8})"), topic)
        return found.group(1) if found else None


@cache
def get_survey(name: str) -> Survey:
    """The survey of that name, in any case; ``WINTER`` is ``WNTR``.

    Raises
    ------
    ConfigError : there is no such survey
    """
    key = name.upper()
    key = next((known for known, module in MODULES.items() if module.upper() == key), key)
    module = module_of(key)
    if not re.fullmatch(r"\w+", key) or find_spec(module) is None:
        raise ConfigError(f"there is no survey {name}: no module {module}")
    survey: Survey = import_module(module).SURVEY
    return survey


def known_surveys() -> list[Survey]:
    """All surveys that have a module, by name."""
    folder = import_module("kowalski").__path__
    modules = (name for _, name, _ in iter_modules(folder) if name.startswith("alert_broker_"))
    return sorted((get_survey(name.removeprefix("alert_broker_")) for name in modules), key=lambda survey: survey.name)


def module_of(survey: str) -> str:
    """The module that declares a survey and runs its broker."""
    return f"kowalski.alert_broker_{MODULES.get(survey.upper(), survey.lower())}"


def enabled_surveys(enabled: Mapping[str, bool]) -> list[str]:
    """Keys of the surveys that are switched on and exist."""
    return [key.upper() for key, on in enabled.items() if on and find_spec(module_of(key)) is not None]
