"""Cells as they are kept: the same after the way to MongoDB, exact as far as they go, and covered by what MongoDB is asked for."""

from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy_healpix import HEALPix, level_ipix_to_uniq

from kowalski.errors import SkymapError
from kowalski.skymaps import cells as module
from kowalski.skymaps.cells import Cells, pieces_for
from kowalski.skymaps.contours import cover
from kowalski.skymaps.localization import Localization, from_cells, from_cone, from_polygon
from kowalski.skymaps.search import Place, Region, place_of
from kowalski.skymaps.volume import Volume


def multi_order() -> Localization:
    """Cells of orders 3 to 8, finer towards a point, with gaps."""
    random = np.random.default_rng(3)
    uniq, density = [], []
    ipix = np.arange(12 * 4**3)
    for order in range(3, 9):
        split = random.random(ipix.size) < 0.3
        uniq.append(np.asarray(level_ipix_to_uniq(order, ipix[~split])))
        density.append(random.exponential(size=(~split).sum()) * 4.0**order)
        ipix = (4 * ipix[split][:, None] + np.arange(4)).ravel()
    return from_cells("x", np.concatenate(uniq), np.concatenate(density))


MAP = multi_order()
RANDOM = np.random.default_rng(4)
SKY = RANDOM.normal(size=(5_000, 3))
RA, DEC = (
    np.degrees(np.arctan2(SKY[:, 1], SKY[:, 0])) % 360,
    np.degrees(np.arcsin(SKY[:, 2] / np.linalg.norm(SKY, axis=1))),
)


def test_the_same_after_the_way_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 500)
    cells = Cells.of(Localization("x", MAP.uniq, MAP.density, np.stack([MAP.density] * 3, axis=-1)))
    pieces, noted = cells.pieces(), cells.summary()
    assert len(pieces) > 3
    back = Cells.from_pieces(pieces, noted)
    for name in ("uniq", "density", "distance", "levels"):
        np.testing.assert_array_equal(getattr(back, name), getattr(cells, name))


@pytest.mark.parametrize("level", [1, 30, 50, 90, 99.9, 100])
def test_the_first_pieces_are_enough(monkeypatch: pytest.MonkeyPatch, level: float) -> None:
    monkeypatch.setattr(module, "PIECE", 100)
    cells = Cells.of(MAP)
    pieces, noted = cells.pieces(), cells.summary()
    number = pieces_for(noted, level)
    part = Cells.from_pieces(pieces[:number], noted)
    assert part.region(level) == cells.region(level)
    if number < len(pieces):
        with pytest.raises(SkymapError, match="up to"):
            part.region(100)


def test_cells_that_are_not_kept_are_asked_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    every = Cells.of(MAP)
    monkeypatch.setattr(module, "KEPT", 1_000)
    cells = Cells.of(MAP)
    assert cells.uniq.size == 1_000
    assert cells.region(cells.whole_to - 0.01) == every.region(cells.whole_to - 0.01)
    with pytest.raises(SkymapError, match="percent only"):
        cells.region(cells.whole_to + 0.01)
    np.testing.assert_allclose(cells.levels, every.levels[:1_000])


def test_maps_that_were_made_flat_are_merged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    order = MAP.levels[0].astype(int)
    parts = [np.repeat(np.flatnonzero(order == each), 4 ** (8 - each)) for each in range(3, 9)]
    owner = np.concatenate(parts)
    first = np.concatenate([np.tile(np.arange(4 ** (8 - each)), (order == each).sum()) for each in range(3, 9)])
    ipix = MAP.levels[1][owner] * 4 ** (8 - order[owner]) + first
    layers = np.stack([MAP.density, MAP.density + 1, np.full(MAP.density.shape, np.inf)], axis=-1)
    flat = Localization("x", np.asarray(level_ipix_to_uniq(8, ipix)), MAP.density[owner], layers[owner])
    monkeypatch.setattr(module, "KEPT", MAP.uniq.size)
    assert flat.uniq.size > 10 * MAP.uniq.size
    cells, expected = Cells.of(flat), Cells.of(Localization("x", MAP.uniq, MAP.density, layers))
    assert cells.whole_to == 100
    np.testing.assert_array_equal(cells.uniq, expected.uniq)
    np.testing.assert_allclose(cells.density, expected.density)
    np.testing.assert_array_equal(cells.distance, expected.distance)  # type: ignore[arg-type]


def test_positions_lie_in_their_cells() -> None:
    cells = Cells.of(MAP)
    found = cells.at(RA, DEC)
    finest = HEALPix(nside=2**8, order="nested").lonlat_to_healpix(RA * units.deg, DEC * units.deg)
    for number, pixel in enumerate(finest):
        holders = np.flatnonzero(cells.ipix == pixel >> 2 * (8 - cells.order))
        assert holders.tolist() == ([found[number]] if found[number] >= 0 else [])


def test_cells_as_dense_as_each_other_have_one_level() -> None:
    cells = Cells.of(from_polygon("x", [(350, -5), (10, -5), (10, 5), (350, 5)]))
    assert set(cells.levels.tolist()) == {0.0}
    assert cells.region(1) == cells.uniq.size


def inside(polygon: list[Any], ra: float, dec: float) -> bool:
    """Whether a ring of arcs of great circles goes around a position: by the angle that it sweeps."""
    corners = np.radians(np.array(polygon) + [180, 0])
    vectors = np.stack(
        [
            np.cos(corners[:, 1]) * np.cos(corners[:, 0]),
            np.cos(corners[:, 1]) * np.sin(corners[:, 0]),
            np.sin(corners[:, 1]),
        ],
        -1,
    )
    lon, lat = np.radians([ra, dec])
    here = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    if (vectors @ here).min() < 0:  # parts are smaller than a hemisphere
        return False
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    angles = np.arctan2(vectors @ np.cross(here, east), vectors @ east)
    turns = (np.diff(angles) + np.pi) % (2 * np.pi) - np.pi
    return bool(abs(turns.sum()) > np.pi)


@pytest.mark.parametrize(
    "centre", [(0.0, 0.0, 3.0), (10.0, 89.0, 8.0), (180.0, -60.0, 0.01), (45.0, 41.8, 1.0), (0.0, -89.9, 1.0)]
)
def test_covers_hold_all_of_their_cells(centre: tuple[float, float, float]) -> None:
    cells = Cells.of(from_cone(*centre))
    first = cells.region(90)
    geometry = cover(cells.order[:first], cells.ipix[:first])
    assert geometry is not None
    for number in RANDOM.choice(first, min(first, 40), replace=False):
        mesh = HEALPix(nside=2 ** int(cells.order[number]), order="nested")
        ipix = np.repeat(cells.ipix[number], 4)  # points near its corners, for those themselves lie where parts are cut
        lon, lat = mesh.healpix_to_lonlat(
            ipix, dx=np.array([0.01, 0.01, 0.99, 0.99]), dy=np.array([0.01, 0.99, 0.01, 0.99])
        )
        for ra, dec in zip(lon.deg, lat.deg, strict=True):
            rings = [[inside(ring, ra, dec) for ring in polygon] for polygon in geometry["coordinates"]]
            assert any(outer and not any(holes) for outer, *holes in rings), (ra, dec)


def test_half_of_the_sky_is_not_covered_but_looked_through() -> None:
    cells = Cells.of(MAP)
    assert cover(cells.order, cells.ipix) is None


def test_places_without_position_lie_nowhere() -> None:
    region = Region(Cells.of(MAP), 100)
    assert region.look(
        [place_of({}), place_of({"coordinates": {"radec_geojson": {"coordinates": []}}}), Place(500, 0)]
    )[:2] == [None, None]
    assert region.look([]) == []


@pytest.mark.parametrize(
    ("distance", "message"),
    [(None, "no layers of distance"), (np.full((MAP.uniq.size, 3), np.inf), "no cell whose distance is known")],
)
def test_volumes_need_distances(distance: Any, message: str) -> None:
    with pytest.raises(SkymapError, match=message):
        Volume(Cells.of(Localization("x", MAP.uniq, MAP.density, distance)))


def test_the_probability_in_space_is_that_on_the_sky() -> None:
    """The closed form against a sum over distances, where some distances would be negative."""
    size = MAP.uniq.size
    mean, width = RANDOM.uniform(-20, 200, size), RANDOM.uniform(10, 60, size)
    shells = np.arange(0.05, 800, 0.1)
    normal = np.exp(-0.5 * ((shells - mean[:, None]) / width[:, None]) ** 2) / (np.sqrt(2 * np.pi) * width[:, None])
    norm = 1 / (normal * shells**2 * 0.1).sum(axis=1)
    cells = Cells.of(Localization("x", MAP.uniq, MAP.density, np.stack([mean, width, norm], axis=-1)))
    volume = Volume(cells)
    assert volume._beyond(0.0) == pytest.approx(1, abs=1e-6)
    for level in (10, 50, 90):
        density = volume.threshold(level)
        rows = np.repeat(np.arange(size), shells.size)
        voxels = volume.density(rows, np.tile(shells, size)).reshape(size, -1)
        mass = voxels * shells**2 * 0.1 * (cells.probability / cells.density)[:, None]
        assert mass[voxels >= density].sum() / mass.sum() == pytest.approx(level / 100, abs=2e-4)
