"""An object under observation: the history and stamps it has so far, and its next packet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kowalski.simulation.artefacts import artefact
from kowalski.simulation.cutouts import gzipped_fits, point, science_and_difference, template
from kowalski.simulation.encoding import encode, encode_forced, encode_point
from kowalski.simulation.packets import (
    PUBLISHER,
    candidate,
    detection,
    forced_point,
    history_point,
    surroundings,
    upper_limit,
)
from kowalski.simulation.sky import Exposure
from kowalski.simulation.sources import Source, detected, errors, measured
from kowalski.simulation.species import Kind

FORCED_FAILURES = 0.08
"""Share of forced-photometry points that failed."""


@dataclass(frozen=True, slots=True)
class SimulatedPacket:
    """One alert: the packet's bytes, and what they say.

    ``kind`` is the truth that the packet doesn't tell: supernova, nuclear, variable, asteroid or bogus.
    """

    candid: int
    object_id: str
    jd: float
    programid: int
    kind: Kind
    data: bytes


@dataclass
class Tracked:
    """An object between its first and last packet of the night.

    Attributes
    ----------
    history, forced : encoded points of ``prv_candidates`` and ``fp_hists``, oldest first; forced None where packets have none
    around : what its place on the sky fixes
    detections, first_jd : so far, and JD of the first (None before it)
    templates : fid -> reference stamp, made once
    """

    source: Source
    history: list[bytes]
    forced: list[bytes] | None
    around: dict[str, Any]
    detections: int
    first_jd: float | None
    templates: dict[int, bytes] = field(default_factory=dict)

    def miss(self, exposure: Exposure) -> None:
        """An exposure did not detect the object: an upper limit."""
        self.history.append(encode_point(upper_limit(exposure, self.source.rcid)))

    def packet(self, exposure: Exposure, rng: np.random.Generator) -> SimulatedPacket:
        """The packet of a detection, which then belongs to the history of the next one."""
        source = self.source
        flux = detected(source, exposure, rng)
        seen = detection(source, exposure, flux, rng)
        stamps = self._cutouts(exposure, seen, flux, rng)
        self._count(exposure.jd)
        record = {
            "schemavsn": "4.01",
            "publisher": PUBLISHER,
            "objectId": source.object_id,
            "candid": seen["candid"],
            "candidate": candidate(seen, self.around, source, exposure, self.detections, self.first_jd or exposure.jd),
            **stamps,
        }
        data = encode(record, self.history, self.forced)
        self.history.append(encode_point(history_point(seen)))
        return SimulatedPacket(seen["candid"], source.object_id, exposure.jd, exposure.programid, source.kind, data)

    def remember(self, past: Sequence[Exposure], rng: np.random.Generator) -> None:
        """Fill the history with exposures before the night: detections, upper limits, forced photometry."""
        fluxes = measured(self.source, past, rng)
        found = np.abs(fluxes) > 5 * errors(past)
        for exposure, flux, seen in zip(past, fluxes.tolist(), found.tolist(), strict=True):
            if seen:
                self.history.append(encode_point(history_point(detection(self.source, exposure, flux, rng))))
                self._count(exposure.jd)
            else:
                self.miss(exposure)
        if self.source.forced:
            points = zip(past, fluxes.tolist(), rng.random(len(past)) < FORCED_FAILURES, strict=True)
            self.forced = [encode_forced(forced_point(self.source, *point_)) for point_ in points]

    def _count(self, jd: float) -> None:
        self.detections += 1
        self.first_jd = self.first_jd or jd

    def _cutouts(
        self, exposure: Exposure, seen: dict[str, Any], flux: float, rng: np.random.Generator
    ) -> dict[str, dict[str, Any]]:
        source, positive = self.source, seen["isdiffpos"] == "t"
        counts = flux * 10 ** (0.4 * (exposure.zero_point - 23.9))
        if source.kind == "bogus":
            change = artefact(source.species, counts, exposure, rng)
        else:
            change = point(counts, exposure.seeing, *(rng.standard_normal(2) * 0.3))
        science, difference = science_and_difference(source.scene, exposure, change, positive, rng)
        if exposure.fid not in self.templates:
            self.templates[exposure.fid] = gzipped_fits(template(source.scene, exposure, rng))
        name = f"candid{seen['candid']}"
        image = f"{name}_pid{seen['pid']}_targ"
        direction = "scimref" if positive else "refmsci"
        return {
            "cutoutScience": {"fileName": f"{image}_sci.fits.gz", "stampData": gzipped_fits(science)},
            "cutoutTemplate": {"fileName": f"{name}_ref.fits.gz", "stampData": self.templates[exposure.fid]},
            "cutoutDifference": {"fileName": f"{image}_{direction}.fits.gz", "stampData": gzipped_fits(difference)},
        }


def track(source: Source, past: Sequence[Exposure], tonight: Sequence[Exposure], rng: np.random.Generator) -> Tracked:
    """An object at its first detection of the night; ``tonight`` are the exposures that have missed it so far."""
    state = Tracked(source, [], None, surroundings(source), source.detections, source.first_jd)
    state.remember(past, rng)
    for exposure in tonight:
        state.miss(exposure)
    return state
