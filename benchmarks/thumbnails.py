"""CPU of a thumbnail, ms each: ours against the matplotlib figure that thumbnails used to be, of the same cutouts.

    .venv/bin/python -m benchmarks.thumbnails [FOLDER] [--rounds N]

FOLDER holds packets of ZTF, in folders of nights; by default it is ``ztf_alerts`` in what KOWALSKI_TEST_DATA names.
"""

import argparse
import base64
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.visualization import AsymmetricPercentileInterval, ImageNormalize, LinearStretch, LogStretch
from matplotlib.figure import Figure

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.decode import decode
from kowalski.skyportal.thumbnails import THUMBNAILS, make_thumbnail

Stamp = tuple[str, bytes]


def drawn(stamp: bytes, role: str) -> bytes:
    """A cutout as a figure of 4 x 4 inches at 42 dpi, PNG; read and turned as ours, so that only the drawing differs."""
    image = SURVEY.orient(read_stamp(stamp)).astype(float)
    image = np.where(np.abs(image) <= 1e20, image, np.nan)
    image = np.nan_to_num(image, nan=np.nanmean(image))
    shades = ImageNormalize(image, stretch=LinearStretch() if role == "difference" else LogStretch())(image)
    return figure(shades, *AsymmetricPercentileInterval(1, 100).get_limits(shades))


def figure(shades: np.ndarray, low: float, high: float) -> bytes:
    """An image in the colours of ``bone`` between two values, its first row below, and nothing else, as a PNG."""
    canvas = Figure(figsize=(4, 4), dpi=42)
    axes = canvas.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(shades, cmap="bone", origin="lower", vmin=low, vmax=high)
    file = io.BytesIO()
    canvas.savefig(file, dpi=42)
    return file.getvalue()


def stamps_in(folder: Path) -> list[Stamp]:
    """The three cutouts of every packet."""
    records = [record for path in sorted(folder.glob("*/*.avro")) for record in decode(path.read_bytes())]
    return [(role, SURVEY.stamp(record, role)) for record in records for role in THUMBNAILS]


def milliseconds(make: Callable[[Stamp], object], stamps: list[Stamp], rounds: int) -> float:
    """CPU ms that one picture takes, all threads together, in the best of some rounds after one to get warm."""
    spent = []
    for _ in range(rounds + 1):
        began = time.process_time()
        for stamp in stamps:
            make(stamp)
        spent.append(time.process_time() - began)
    return 1000 * min(spent[1:]) / len(stamps)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("KOWALSKI_TEST_DATA")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(data) / "ztf_alerts" if data else None)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    stamps = stamps_in(arguments.folder) if arguments.folder else []
    if not stamps:
        parser.error("no packets: name their folder")
    ours = milliseconds(lambda stamp: make_thumbnail(stamp[1], stamp[0], SURVEY), stamps, arguments.rounds)
    theirs = milliseconds(lambda stamp: base64.b64encode(drawn(stamp[1], stamp[0])), stamps, arguments.rounds)
    print(f"{len(stamps)} cutouts, best of {arguments.rounds} rounds, CPU ms each")
    print(f"kowalski    {ours:7.3f}\nmatplotlib  {theirs:7.3f}\nratio       {theirs / ours:7.1f}")


if __name__ == "__main__":
    main()
