"""The fields of ZTF packets (schema 4.01) of simulated detections."""

import math
from typing import Any

import numpy as np

from kowalski.simulation.encoding import codec
from kowalski.simulation.quality import quality
from kowalski.simulation.scene import RADIUS
from kowalski.simulation.sky import CHANNEL_PIXELS, PIXEL, Exposure, beside
from kowalski.simulation.sources import Source
from kowalski.simulation.species import microjansky

PUBLISHER = "Kowalski simulator"
MISSING = -999.0
FAILED = -99999.0
FAINTEST = 22.8
"""Faintest magnitude that PS1 lists, mag."""


def epoch(exposure: Exposure, rcid: int) -> dict[str, Any]:
    """The fields that an exposure gives to whatever it saw or missed."""
    image = exposure.image(rcid)
    day, fraction = image[4:12], image[12:18]
    return {
        "jd": exposure.jd,
        "fid": exposure.fid,
        "pid": exposure.pid(rcid),
        "diffmaglim": exposure.limit,
        "pdiffimfilename": f"/ztf/archive/sci/{day[:4]}/{day[4:]}/{fraction}/{image}.fits.fz",
        "programpi": "Kulkarni",
        "programid": exposure.programid,
        "nid": exposure.nid,
        "rcid": rcid,
        "field": exposure.field,
        "magzpsci": exposure.zero_point,
        "magzpsciunc": 6e-5,
        "magzpscirms": 0.04,
        "clrcoeff": exposure.colour_term,
        "clrcounc": 7.5e-5,
        "rbversion": "t17_f5_c3",
    }


def history_point(seen: dict[str, Any]) -> dict[str, Any]:
    """A detection as a later packet's history shows it."""
    return {name: seen.get(name) for name in codec().history}


def upper_limit(exposure: Exposure, rcid: int) -> dict[str, Any]:
    """A history point of an exposure in which the object was not detected."""
    return {**dict.fromkeys(codec().history), **epoch(exposure, rcid)}


def detection(source: Source, exposure: Exposure, flux: float, rng: np.random.Generator) -> dict[str, Any]:
    """Everything a detection of ``flux`` microjansky says of itself: the fields of a history point, and drb."""
    positive = flux > 0
    snr = abs(flux) / (microjansky(exposure.limit) / 5)
    magpsf = 23.9 - 2.5 * math.log10(abs(flux))
    east, north, dx, dy = (rng.standard_normal(4) * (0.08, 0.08, 8, 8)).tolist()
    ra, dec = beside(source.ra, source.dec, east, north)
    x, y = (min(max(at, 5.0), CHANNEL_PIXELS - 5.0) for at in (source.x + dx, source.y + dy))
    looks = quality(source.species, snr, exposure, rng)
    magap = magpsf + looks["magdiff"]
    return {
        **epoch(exposure, source.rcid),
        **looks,
        **reference_source(source),
        "candid": exposure.candid(source.rcid, source.slot, positive),
        "isdiffpos": "t" if positive else "f",
        "tblid": source.slot,
        "ra": ra,
        "dec": dec,
        "xpos": x,
        "ypos": y,
        "mindtoedge": min(x, y, CHANNEL_PIXELS - x, CHANNEL_PIXELS - y),
        "magpsf": magpsf,
        "sigmapsf": math.hypot(1.0857 / snr, 0.03),
        "magap": magap,
        "sigmagap": 1.1 / snr,
        "magapbig": magap + 0.03,
        "sigmagapbig": 1.4 / snr,
        "magfromlim": exposure.limit - magap,
        "scorr": snr * 1.1,
    }


def reference_source(source: Source) -> dict[str, Any]:
    """The nearest source of the reference image, which reaches about PS1's depth; distance in pixels."""
    scene = source.scene
    if not scene.distance.size:
        distance, east, north, magnitude, point_like = RADIUS, 0.0, RADIUS, 22.9, True
    else:
        distance, east, north = (float(axis[0]) for axis in (scene.distance, scene.east, scene.north))
        magnitude, point_like = float(scene.griz[0, 1]), scene.sort[0] != "galaxy"
    ra, dec = beside(source.ra, source.dec, east, north)
    return {
        "distnr": distance / PIXEL,
        "magnr": magnitude,
        "sigmagnr": 0.015 + 10 ** (0.4 * (magnitude - 24.0)),
        "chinr": 0.7 if point_like else 2.5,
        "sharpnr": 0.0 if point_like else 0.8,
        "ranr": ra,
        "decnr": dec,
    }


def reference_image(exposure: Exposure, rcid: int) -> int:
    """ZTF's id of a reference image: field, band, readout channel."""
    return exposure.field * 1_000_000 + exposure.fid * 100_000 + 20_100 + rcid


def surroundings(source: Source) -> dict[str, Any]:
    """The fields of a candidate that its object's place on the sky fixes: PS1, Gaia, reference image."""
    scene = source.scene
    fields: dict[str, Any] = {"nmtchps": min(len(scene.sort), 99)}
    for place in range(3):
        present = place < len(scene.sort)
        magnitudes = scene.griz[place].tolist() if present else [99.0] * 4
        for band, magnitude in zip("griz", magnitudes, strict=True):
            fields[f"s{band}mag{place + 1}"] = magnitude if magnitude < FAINTEST else MISSING
        fields[f"sgscore{place + 1}"] = float(scene.starness[place]) if present else MISSING
        fields[f"distpsnr{place + 1}"] = float(scene.distance[place]) if present else MISSING
        fields[f"objectidps{place + 1}"] = ps1_id(source.index, place) if present else int(MISSING)
    stars = np.flatnonzero(np.isfinite(scene.gaia))
    near = (float(scene.distance[stars[0]]), float(scene.gaia[stars[0]])) if stars.size else (MISSING, MISSING)
    return fields | {
        "neargaia": near[0],
        "maggaia": near[1],
        "neargaiabright": scene.bright_distance,
        "maggaiabright": scene.bright_gaia,
        "jdstartref": 2458313.966389,
        "jdendref": 2458374.935625,
        "nframesref": 15,
    }


def ps1_id(index: int, place: int) -> int:
    """PS1's id of a source near object ``index``: the same in packets and in the catalogues."""
    return 110_000_000_000_000_000 + index * 100 + place


def candidate(
    seen: dict[str, Any], around: dict[str, Any], source: Source, exposure: Exposure, detections: int, first_jd: float
) -> dict[str, Any]:
    """The candidate of a packet, from its detection and its object's surroundings; ``detections`` counts itself."""
    asteroid = source.kind == "asteroid"
    signal = seen["scorr"]
    return {
        **seen,
        **around,
        "pdiffimfilename": f"{exposure.image(source.rcid)}.fits",
        "rfid": reference_image(exposure, source.rcid),
        "ndethist": detections,
        "ncovhist": source.visits + detections,
        "jdstarthist": first_jd,
        "jdendhist": exposure.jd,
        "ssdistnr": float(source.index % 2) if asteroid else MISSING,
        "ssmagnr": round(seen["magpsf"] + 0.1, 1) if asteroid else MISSING,
        "ssnamenr": str(1000 + source.index) if asteroid else "null",
        "tooflag": 0,
        "dsnrms": 0.7 * signal,
        "ssnrms": 2.1 * signal,
        "dsdiff": -1.4 * signal,
        "nmatches": exposure.calibrators,
        "zpclrcov": -6.5e-5,
        "zpmed": exposure.zero_point - 0.045,
        "clrmed": 0.75,
        "clrrms": 0.26,
        "exptime": 30.0,
        "drbversion": "d6_m7",
    }


def forced_point(source: Source, exposure: Exposure, flux: float, failed: bool) -> dict[str, Any]:
    """One point of forced photometry; ``flux`` in microjansky, 23.9 is its zero point."""
    scale = 10 ** (0.4 * (exposure.zero_point - 23.9))
    reference = reference_source(source)
    return {
        "field": exposure.field,
        "rcid": source.rcid,
        "fid": exposure.fid,
        "pid": exposure.pid(source.rcid),
        "rfid": reference_image(exposure, source.rcid),
        "sciinpseeing": exposure.seeing * 2.3548,
        "scibckgnd": exposure.sky,
        "scisigpix": math.sqrt(exposure.sky / 6.2),
        "magzpsci": exposure.zero_point,
        "magzpsciunc": 6e-5,
        "magzpscirms": 0.04,
        "clrcoeff": exposure.colour_term,
        "clrcounc": 7.5e-5,
        "exptime": 30.0,
        "adpctdif1": 0.09,
        "adpctdif2": 0.09,
        "diffmaglim": exposure.limit,
        "programid": exposure.programid,
        "jd": exposure.jd,
        "forcediffimflux": FAILED if failed else flux * scale,
        "forcediffimfluxunc": FAILED if failed else microjansky(exposure.limit) / 5 * scale,
        "procstatus": "61" if failed else "0",
        **{name: value for name, value in reference.items() if name != "distnr"},
        "distnr": reference["distnr"] * PIXEL,
    }
