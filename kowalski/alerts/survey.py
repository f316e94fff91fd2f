"""What generic code asks about a survey; the answers are one declaration in ``kowalski/alert_broker_<survey>.py``."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np

from kowalski.alerts.points import Point, Stored
from kowalski.alerts.site import GREENWICH, Site
from kowalski.errors import ConfigError

#: what the names of the surveys' modules begin with
PREFIX = "alert_broker_"

HALF_A_DAY = timedelta(hours=12)

#: role of a cutout -> stretch and interval of its thumbnail, as `kowalski.alerts.pictures` names them
LOOKS = {
    "science": ("log", "asymmetric"),
    "template": ("log", "asymmetric"),
    "difference": ("linear", "asymmetric"),
}


@dataclass(frozen=True)
class History:
    """One list of earlier points that packets carry, and how copies of the same point merge.

    Attributes
    ----------
    field : name of the list, in packets and in aux documents
    identity : point -> key; two points with the same key are copies of one
    prepare : (points of a packet, its candidate) -> points as stored
    brightest_wins : the copy that the brightest alert brought is kept, else that of the latest packet
    forced : whether the points are forced photometry
    copies_share : whether copies have the same jd or the same candid in any case, so that most points need not be looked at whole
    """

    field: str
    identity: Callable[[Stored], tuple[Any, ...]]
    prepare: Callable[[list[Point], Mapping[str, Any]], list[Point]]
    brightest_wins: bool = False
    forced: bool = False
    copies_share: bool = True


@dataclass(frozen=True)
class Flux:
    """Fields of a point that hold its flux in the difference image and the flux's error, and their AB zero point."""

    flux: str
    error: str
    zero_point: float


@dataclass(frozen=True)
class CatalogSource:
    """Fields of a candidate that tell of a catalogued source near it: its distance (arcsec), magnitude, and star/galaxy score (1: a star)."""

    distance: str
    magnitude: str
    star_score: str | None = None


@dataclass(frozen=True)
class TransientFields:
    """Where a survey's alerts say what tells extragalactic transients from the rest (`kowalski.transients.extragalactic`).

    Numbers below zero stand for what is not known.

    Attributes
    ----------
    sources : catalogued sources, where scored; the one under the alert may be a star, any of them a bright one
    bright_stars : the same of stars that are bright in any case
    star_flag : field of a candidate that is 1 where a star is under the alert
    solar_system_distance : field of a candidate: arcsec to the nearest known object of the solar system
    solar_system_id : path in the alert's document to the object of the solar system that it is, neither null nor 0
    first_jd : field of a candidate: jd of the first detection at its place
    """

    sources: tuple[CatalogSource, ...] = ()
    bright_stars: tuple[CatalogSource, ...] = ()
    star_flag: str | None = None
    solar_system_distance: str | None = None
    solar_system_id: str | None = None
    first_jd: str | None = None


#: of packets that name sources of Pan-STARRS1, Gaia and the solar system as ZTF's do
LIKE_ZTF = TransientFields(
    sources=tuple(CatalogSource(f"distpsnr{number}", f"srmag{number}", f"sgscore{number}") for number in (1, 2, 3)),
    bright_stars=(CatalogSource("neargaiabright", "maggaiabright"),),
    solar_system_distance="ssdistnr",
    first_jd="jdstarthist",
)


@dataclass(frozen=True)
class NumberedSchemas:
    """Messages may name their schema by number (Confluent's wire format) in place of bringing it along.

    Attributes
    ----------
    file : number -> place of the schema's file in the folder ``schemas.<SURVEY>.folder``
    own : number of the schema that the survey's module was written for
    """

    file: Callable[[int], str]
    own: int


@dataclass(frozen=True)
class Survey:
    """One survey: names of its fields, bands, data rights, and how its history merges.

    Attributes
    ----------
    name : key in config, collections and routes, e.g. ``ZTF``
    topic : regular expression of a night's topics, with ``{date}`` for YYYYMMDD; without it, of the one that has all nights
    object_id : the packet's name of the object's identifier
    cutouts : role (science, template, difference) -> the packet's name
    stamp_field : key of the bytes inside a cutout; None where the cutout is the bytes
    cutouts_may_lack : whether packets may have null in place of a cutout
    histories : the lists of earlier points
    bands : fid -> SkyPortal's name of the band; None: points of that band are not sent
    band_field : field of a point that holds the fid; None: there is one band, under the fid None
    program_field : field that holds the data-rights programme; None: the survey has none
    instrument : SkyPortal's name of the instrument
    streams : programme -> SkyPortal's name of the stream; under None, that of all points, in whose name the text or the survey's
        key occurs, in any case
    nights : how many nights before tonight have topics that still fill, where that is more than ``kafka.nights``
    score_fields : candidate fields that may serve as SkyPortal's score, the first present one is taken
    history_days : d of history that a filter sees before its alert
    forced_ok : whether a forced point may be shown to filters and sent
    forced_complete : candidate -> whether the forced photometry of an object that begins with it is whole
    orient : image (ny, nx) -> image as shown
    looks : role of a cutout -> stretch and interval of its thumbnail
    normalise : record as it was written -> the same with the fields that all surveys' documents have
    schemas : where the schemas of messages come from that name them; None: all bring theirs along
    flux : where points hold fluxes; None: magnitudes are made into fluxes, but for forced photometry
    needs : path -> kind (`kowalski.alerts.drift`) of fields without which packets can't be processed, where they aren't those of `needed`
    uses : path -> kind of further fields that are used where packets have them: of another kind they can't be processed
    alert_indexes : indexes of the alerts besides those that every survey has: name -> fields and directions
    site : where its telescope stands; None: its nights are from noon to noon UTC
    jd_after_start : s from the beginning of an exposure to the jd that its packets give
    transients : what tells extragalactic transients from the rest; None: nobody looks for them
    """

    name: str
    topic: str
    cutouts: Mapping[str, str]
    histories: tuple[History, ...]
    bands: Mapping[int | None, str | None]
    instrument: str
    streams: Mapping[int | None, str]
    object_id: str = "objectId"
    stamp_field: str | None = None
    cutouts_may_lack: bool = False
    band_field: str | None = "fid"
    program_field: str | None = None
    nights: int = 0
    score_fields: tuple[str, ...] = ("drb", "rb")
    history_days: float = 1000.0
    forced_ok: Callable[[Stored], bool] = lambda point: True
    forced_complete: Callable[[Mapping[str, Any]], bool] = lambda candidate: True
    orient: Callable[[np.ndarray], np.ndarray] = lambda image: image
    looks: Mapping[str, tuple[str, str]] = field(default_factory=lambda: LOOKS)
    normalise: Callable[[dict[str, Any]], dict[str, Any]] = lambda record: record
    schemas: NumberedSchemas | None = None
    flux: Flux | None = None
    needs: Mapping[str, str] | None = None
    uses: Mapping[str, str] = field(default_factory=dict)
    alert_indexes: Mapping[str, list[tuple[str, int]]] = field(default_factory=dict)
    site: Site | None = None
    jd_after_start: float = 0.0
    transients: TransientFields | None = None

    @property
    def alerts(self) -> str:
        """Collection of the alerts."""
        return f"{self.name}_alerts"

    @property
    def aux(self) -> str:
        """Collection of the objects: light curves and matches."""
        return f"{self.name}_alerts_aux"

    @property
    def older(self) -> str:
        """Collection of the parts of objects that are too long for one document (`kowalski.alerts.parts`)."""
        return f"{self.aux}_older"

    @property
    def history_fields(self) -> tuple[str, ...]:
        """The lists of points that an object's documents have."""
        replaced = (f"{history.field}_replaced" for history in self.histories if history.brightest_wins)
        return (*(history.field for history in self.histories), *replaced)

    @property
    def classifications(self) -> str:
        """Collection of the labels that people gave to alerts."""
        return f"{self.name}_alerts_classifications"

    @property
    def needed(self) -> dict[str, str]:
        """Path -> kind of the fields without which packets can't be processed."""
        if self.needs is not None:
            return dict(self.needs)
        cutout = f".{self.stamp_field}" if self.stamp_field else ""
        candidate = {"jd": "number", "ra": "number", "dec": "number", "magpsf": "number", "sigmapsf": "number"}
        candidate |= {name: "integer" for name in (self.band_field, self.program_field) if name}
        return {
            self.object_id: "text",
            "candid": "integer",
            **{f"candidate.{name}": kind for name, kind in candidate.items()},
            **{f"{name}{cutout}": "bytes" for name in self.cutouts.values()},
            **{f"{history.field}[].jd": "number" for history in self.histories},
        }

    @property
    def used(self) -> dict[str, str]:
        """Path -> kind of the fields that are used where packets have them: points are told apart by theirs."""
        names = ("jd", "candid", "pid", self.band_field, self.program_field)
        kinds = {name: "number" if name == "jd" else "integer" for name in names if name}
        return {f"{history.field}[].{name}": kind for history in self.histories for name, kind in kinds.items()} | dict(
            self.uses
        )

    def fid_of(self, point: Mapping[str, Any]) -> int | None:
        """The key in ``bands`` of a point."""
        return point.get(self.band_field) if self.band_field else None

    def stream_of(self, programme: Any) -> str | None:
        """SkyPortal's name of the stream that a programme's points belong to; None: they are nobody's to see."""
        return self.streams.get(None) or self.streams.get(programme)

    def with_bands(self, bands: Mapping[int, str | None]) -> "Survey":
        """The survey with these bands besides the declared ones, or instead of them."""
        return replace(self, bands={**self.bands, **dict(bands.items())}) if bands else self

    def with_topic(self, topic: str | None) -> "Survey":
        """The survey with these topics in place of the declared ones, if any are given."""
        return replace(self, topic=topic) if topic else self

    def lacks(self, packet: Mapping[str, Any], role: str) -> bool:
        """Whether a packet has no such cutout, and need not have it."""
        return self.cutouts_may_lack and packet.get(self.cutouts[role]) is None

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

    def topic_on(self, night: date) -> str:
        """One of a night's topics."""
        return re.sub(r"\[(.)[^]]*\]", r"\1", self.topic.format(date=f"{night:%Y%m%d}"))

    def night_of(self, topic: str) -> str | None:
        """The night (YYYYMMDD) that a topic holds, if it is one of this survey's."""
        found = re.fullmatch(self.topic.format(date=r"(\d{8})"), topic)
        return found.group(1) if found and "{date}" in self.topic else None

    def night_at(self, moment: datetime) -> date:
        """The date of the night that a moment (UTC) belongs to, from local noon to local noon.

        Topics have the date (UTC) of their night's local midnight, and so has the night. Where there are none, it has that of its evening.
        """
        site = self.site or GREENWICH
        evening = site.evening_of(moment)
        return (site.noon_of(evening) + HALF_A_DAY).date() if "{date}" in self.topic else evening

    def noons_around(self, night: date) -> tuple[datetime, datetime]:
        """The local noons (UTC) between which the moments of a night lie."""
        site = self.site or GREENWICH
        evening = night if self.night_at(site.noon_of(night)) == night else night - timedelta(days=1)
        return site.noon_of(evening), site.noon_of(evening + timedelta(days=1))


@cache
def _surveys() -> dict[str, tuple[str, Survey]]:
    """Of each survey that has a module: key -> the module's name and the declaration."""
    folder = import_module("kowalski").__path__
    modules = (f"kowalski.{name}" for _, name, _ in iter_modules(folder) if name.startswith(PREFIX))
    found = ((module, import_module(module).SURVEY) for module in modules)
    return {survey.name: (module, survey) for module, survey in sorted(found, key=lambda each: each[1].name)}


def key_of(name: str) -> str | None:
    """The key of the survey that has that name, or whose module has it, in any case; None: there is none."""
    known = {module.rpartition(PREFIX)[2].upper(): key for key, (module, _) in _surveys().items()}
    return {**known, **{key: key for key in _surveys()}}.get(name.upper())


def get_survey(name: str) -> Survey:
    """The survey of that name, or whose module has that name, in any case.

    Raises
    ------
    ConfigError : there is no such survey
    """
    key = key_of(name)
    if key is None:
        raise ConfigError(f"there is no survey {name}: no module declares it")
    return _surveys()[key][1]


def known_surveys() -> list[Survey]:
    """All surveys that have a module, by name."""
    return [survey for _, survey in _surveys().values()]


def module_of(name: str) -> str:
    """The module that declares a survey and runs its broker."""
    return _surveys()[get_survey(name).name][0]


def enabled_surveys(enabled: Mapping[str, bool]) -> list[str]:
    """Keys of the surveys that are switched on and exist."""
    return [key for name, on in enabled.items() if on and (key := key_of(name)) is not None]
