"""Small catalogues of the simulated sky: what surrounds its objects, as the cross-match's collections hold it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kowalski.alerts.coordinates import position
from kowalski.simulation.packets import FAINTEST, ps1_id
from kowalski.simulation.scene import Scene, luminosity_distance
from kowalski.simulation.sky import FIELD_OBJECTS, beside, generator, make_field
from kowalski.simulation.sources import scene_of

Row = dict[str, Any]

OBJECTS = 3000
"""Objects whose surroundings are written unless said otherwise."""

NEARBY = 0.05
"""Redshift up to which the galaxy catalogues reach."""

NAMES = ("Gaia_EDR3", "AllWISE", "PS1_STRM", "milliquas", "CLU_20190625", "NED_BetaV3")


def catalogs(seed: int = 1, objects: int = OBJECTS) -> dict[str, list[Row]]:
    """The rows of each catalogue around the first ``objects`` objects of `simulate` with that seed, on any night."""
    tables: dict[str, list[Row]] = {name: [] for name in NAMES}
    for name, row in rows(seed, objects):
        tables[name].append(row)
    return tables


def write_catalogs(folder: Path, seed: int = 1, objects: int = OBJECTS) -> dict[str, int]:
    """Write `catalogs` as ``<folder>/<collection>.jsonl``, one extended-JSON document a line; rows written of each.

    Rows are written as they are made, so that any number of objects fits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(NAMES, 0)
    files = {name: (folder / f"{name}.jsonl").open("w", encoding="utf-8") for name in NAMES}
    try:
        for name, row in rows(seed, objects):
            files[name].write(json.dumps(row) + "\n")
            counts[name] += 1
    finally:
        for file in files.values():
            file.close()
    return counts


def rows(seed: int, objects: int) -> Iterator[tuple[str, Row]]:
    """Catalogue and row, object after object."""
    for number in range(-(-objects // FIELD_OBJECTS)):
        field = make_field(seed, number)
        for slot in range(min(FIELD_OBJECTS, objects - number * FIELD_OBJECTS)):
            index = number * FIELD_OBJECTS + slot
            rng = generator(seed, 10, index)
            scene = scene_of(seed, field, slot)
            for place in range(len(scene.sort)):
                ra, dec = beside(
                    float(field.ra[slot]), float(field.dec[slot]), float(scene.east[place]), float(scene.north[place])
                )
                where = {"ra": ra, "dec": dec, "coordinates": position(ra, dec)}
                for name, row in _entries(scene, place, index, rng):
                    yield name, row | where


def _entries(scene: Scene, place: int, index: int, rng: np.random.Generator) -> Iterator[tuple[str, Row]]:
    """The catalogues that list one source, and their rows without its position."""
    sort, r = scene.sort[place], float(scene.griz[place, 1])
    if r < FAINTEST:
        yield "PS1_STRM", _photo_z(scene, place, ps1_id(index, place), rng)
    if np.isfinite(scene.gaia[place]):
        yield "Gaia_EDR3", _gaia(scene, place, index, rng)
    if r < 18:
        yield "AllWISE", _wise(r, f"SIM{index:07d}-{place:02d}", rng)
    if sort == "quasar":
        yield "milliquas", {"_id": f"SIM Q{index:07d}", "Name": f"SIM Q{index:07d}", "Descrip": "QR", "Qpct": 99.0}
    if sort == "galaxy" and scene.redshift[place] < NEARBY:
        yield "CLU_20190625", _clu(scene, place, index, rng)
        yield "NED_BetaV3", _ned(scene, place, index, rng)


def _photo_z(scene: Scene, place: int, identifier: int, rng: np.random.Generator) -> Row:
    """PS1-STRM (Beck et al. 2021): class probabilities and photometric redshift, -999 for stars."""
    sort, redshift = scene.sort[place], float(scene.redshift[place])
    sure = float(rng.uniform(0.8, 0.99))
    names = {"galaxy": "GALAXY", "star": "STAR", "quasar": "QSO"}
    error = 0.03 * (1 + redshift) if redshift else -999.0
    return {
        "_id": identifier,
        "objID": identifier,
        "class": names[sort],
        "prob_Galaxy": sure if sort == "galaxy" else (1 - sure) / 2,
        "prob_Star": sure if sort == "star" else (1 - sure) / 2,
        "prob_QSO": sure if sort == "quasar" else (1 - sure) / 2,
        "z_phot": max(redshift + 0.03 * float(rng.standard_normal()), 0.001) if redshift else -999.0,
        "z_photErr": error,
        # the reference's spelling; the catalogue itself has the one above
        "z_phot_err": error,
    }


def _gaia(scene: Scene, place: int, index: int, rng: np.random.Generator) -> Row:
    colour = float(scene.griz[place, 0] - scene.griz[place, 1])
    magnitude = float(scene.gaia[place])
    error = 0.02 + 0.01 * 10 ** (0.2 * max(magnitude - 14, 0))
    star = scene.sort[place] == "star"
    return {
        "_id": 2_000_000_000_000_000_000 + index * 100 + place,
        "parallax": float(rng.exponential(0.8)) * star + error * float(rng.standard_normal()),
        "parallax_error": error,
        "phot_g_mean_mag": magnitude,
        "phot_bp_mean_mag": magnitude + 0.5 * colour,
        "phot_rp_mean_mag": magnitude - 0.5 * colour,
    }


def _wise(r: float, designation: str, rng: np.random.Generator) -> Row:
    bands = r - np.array([2.5, 2.6, 3.5, 5.0]) + rng.normal(0, 0.3, 4)
    magnitudes = {f"w{band}mpro": float(bands[band - 1]) for band in (1, 2, 3, 4)}
    errors = {f"w{band}sigmpro": (0.02, 0.03, 0.2, 0.4)[band - 1] for band in (1, 2, 3, 4)}
    return {"_id": designation, **magnitudes, **errors, "ph_qual": "AABC"}


def _clu(scene: Scene, place: int, index: int, rng: np.random.Generator) -> Row:
    """Census of the Local Universe (Cook et al. 2019): diameter in arcmin, masses and rates in solar units."""
    mass = 10 ** float(rng.uniform(8.5, 11))
    return {
        "_id": 1_000_000 + index * 100 + place,
        "name": f"SIM{index:07d}-{place:02d}",
        "a": float(scene.size[place]) * 4 / 60,
        "b2a": float(scene.axis_ratio[place]),
        "pa": float(scene.angle[place]),
        "z": float(scene.redshift[place]),
        "sfr_fuv": mass * 1e-10,
        "mstar": mass,
        "sfr_ha": mass * 1.2e-10,
    }


def _ned(scene: Scene, place: int, index: int, rng: np.random.Generator) -> Row:
    """NED Local Volume Sample (Cook et al. 2023)."""
    redshift = float(scene.redshift[place])
    distance = luminosity_distance(redshift)
    mass = 10 ** float(rng.uniform(8.5, 11))
    return {
        "_id": 2_000_000 + index * 100 + place,
        "objname": f"SIM{index:07d}-{place:02d}",
        "objtype": "G",
        "z": redshift,
        "z_unc": 1e-4,
        "z_tech": "SPEC",
        "z_qual": False,
        "DistMpc": distance,
        "DistMpc_unc": 0.07 * distance,
        "ebv": 0.03,
        "m_Ks": float(scene.griz[place, 1]) - 2.8,
        "m_Ks_unc": 0.05,
        "tMASSphot": "total",
        "Mstar": mass,
        "Mstar_unc": 0.3 * mass,
    }
