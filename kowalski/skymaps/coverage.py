"""Coverage maps (MOC, IVOA recommendation 2.0): a part of the sky, evenly filled.

mocpy is imported where it is used: it takes a second and 100 MB of each process that has it.
"""

import json
import re
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from kowalski.errors import SkymapError
from kowalski.skymaps.localization import MAX_CELLS, Localization

if TYPE_CHECKING:
    from mocpy import MOC

#: the finest order of a MOC
FINEST = 29


def from_moc_text(name: str, given: Any) -> Localization:
    """The localization of a MOC in ASCII (``3/1-5 4/100``) or JSON (``{"3": [1, 2]}``, or its text).

    Raises
    ------
    SkymapError : it isn't one
    """
    from mocpy import MOC

    text = json.dumps(given) if isinstance(given, dict) else given
    if not isinstance(text, str):
        raise SkymapError('moc: text such as 3/1-5 4/100, or JSON such as {"3": [1, 2]}, is expected')
    is_json = text.lstrip().startswith("{")
    orders = re.findall(r'"([^"]*)"\s*:' if is_json else r"(\S+?)/", text)
    if not orders or not all(order.isdecimal() and len(order) < 3 and int(order) <= FINEST for order in orders):
        raise SkymapError(f"moc: orders from 0 to {FINEST} are expected, each with its cells")
    try:
        return _filled(name, MOC.from_string(text, "json" if is_json else "ascii"))
    except (OSError, ValueError) as error:
        raise SkymapError(f"moc: it can't be read: {str(error)[:200]}") from None


def from_moc_file(name: str, content: bytes) -> Localization:
    """The localization of a MOC's FITS file, of version 1 or 2, not gzipped.

    Raises
    ------
    SkymapError : it isn't one
    """
    from mocpy import MOC

    with tempfile.NamedTemporaryFile(suffix=".fits") as file:
        file.write(content)
        file.flush()
        try:
            return _filled(name, MOC.load(file.name, "fits"))
        except (OSError, ValueError) as error:
            raise SkymapError(f"the MOC can't be read: {str(error)[:200]}") from None


def _filled(name: str, moc: "MOC") -> Localization:
    cells = np.asarray(moc.uniq_hpx)
    if not 0 < cells.size <= MAX_CELLS:
        raise SkymapError(f"moc: 1 to {MAX_CELLS} cells are expected, it has {cells.size}")
    return Localization(name, cells.astype(np.int64), np.ones(cells.size))
