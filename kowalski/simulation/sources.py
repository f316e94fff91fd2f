"""The objects of the simulated sky: who they are, where, and how bright at each epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np

from kowalski.simulation.scene import Scene, make_scene
from kowalski.simulation.sky import FIELD_OBJECTS, FIRST_JD, Exposure, Field, generator
from kowalski.simulation.species import SPECIES, Kind, LightCurve, light_curve, microjansky

#: detections before the history that packets carry, (least, most), by species; the others have none
LONG_KNOWN = {"variable": (40, 600), "agn": (10, 200), "ghost": (1, 12), "dipole": (0, 8), "column": (0, 20)}

FORCED_SHARE = 0.7
"""Share of the objects whose packets carry forced photometry."""


@dataclass(frozen=True)
class Source:
    """One object of the simulated sky.

    Attributes
    ----------
    slot : its place in its field
    rcid, x, y : readout channel, and pixels on it
    curve : its difference flux with time
    visits : times the telescope looked before the month of history
    detections, first_jd : times it was detected before that month, and JD of the first (None: never)
    forced : its packets carry forced photometry
    """

    index: int
    slot: int
    species: str
    object_id: str
    ra: float
    dec: float
    rcid: int
    x: float
    y: float
    scene: Scene
    curve: LightCurve
    visits: int
    detections: int
    first_jd: float | None
    forced: bool

    @property
    def kind(self) -> Kind:
        return SPECIES[self.species].kind


def scene_of(seed: int, field: Field, slot: int) -> Scene:
    """The surroundings of one object: the same in packets and in the catalogues, on any night."""
    return make_scene(field.species[slot], generator(seed, 5, field.number * FIELD_OBJECTS + slot))


def make_source(seed: int, field: Field, slot: int, nid: int) -> Source:
    """The object in one place of a field, as a night finds it."""
    index = field.number * FIELD_OBJECTS + slot
    species = field.species[slot]
    rng = generator(seed, 6, index, nid)
    scene = scene_of(seed, field, slot)
    reference = None if scene.counterpart is None else float(scene.griz[scene.counterpart, 1])
    detections = int(rng.integers(*LONG_KNOWN[species], endpoint=True)) if species in LONG_KNOWN else 0
    first_jd = round(float(rng.uniform(2458200.5, 2458700.5)), 7) if detections else None
    return Source(
        index,
        slot,
        species,
        object_name(seed, index, nid if first_jd is None else int(first_jd - FIRST_JD)),
        float(field.ra[slot]),
        float(field.dec[slot]),
        int(field.rcid[slot]),
        float(field.x[slot]),
        float(field.y[slot]),
        scene,
        light_curve(species, FIRST_JD + nid, reference, rng),
        visits=int(rng.integers(700, 2400)),
        detections=detections,
        first_jd=first_jd,
        forced=bool(rng.random() < FORCED_SHARE),
    )


def object_name(seed: int, index: int, nid: int) -> str:
    """ZTF's form of a name, ``ZTF<yy><7 letters>``; unique in a simulation of less than 26^7 objects."""
    number = (index + seed * 1_000_003) % 26**7
    letters = ""
    for _ in range(7):
        number, letter = divmod(number, 26)
        letters = ascii_lowercase[letter] + letters
    return f"ZTF{17 + int(nid / 365.25):02d}{letters}"


def errors(exposures: Sequence[Exposure]) -> np.ndarray:
    """1-sigma flux error of each exposure, microjansky."""
    return np.array([microjansky(exposure.limit) / 5 for exposure in exposures])


def measured(source: Source, exposures: Sequence[Exposure], rng: np.random.Generator) -> np.ndarray:
    """Difference fluxes with their noise in some exposures, microjansky."""
    jd = np.array([exposure.jd for exposure in exposures])
    fid = np.array([exposure.fid for exposure in exposures])
    return source.curve.flux(jd, fid) + rng.standard_normal(jd.size) * errors(exposures)


def detected(source: Source, exposure: Exposure, rng: np.random.Generator) -> float:
    """Difference flux of a detection, microjansky: as `measured`, but never below 5.3 sigma, as it made an alert."""
    error = microjansky(exposure.limit) / 5
    true = float(source.curve.flux(np.array([exposure.jd]), np.array([exposure.fid]))[0])
    flux = true + error * float(rng.standard_normal())
    return float(np.copysign(max(abs(flux), 5.3 * error), true or flux))
