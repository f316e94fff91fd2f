"""Tables of any length as blocks of rows: CSV with Python's csv, FITS with astropy, a block at a time from a stream."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kowalski.errors import WatchlistError

#: rows of a block
BLOCK = 2000
#: bytes of a CSV file's first line, of a FITS header's block, and blocks of a header at most
LONGEST_LINE, FITS_BLOCK, MOST_BLOCKS = 1 << 20, 2880, 1000
DELIMITERS = ",;\t|"
#: what stands for nothing
MISSING = frozenset({"", "nan", "null", "none", "n/a", "--"})
#: behind a column's name in a CSV file: its values stay texts, though they may look like numbers
TEXT = ":text"

Column = list[Any]


class Block(NamedTuple):
    """Some rows of a table: the number of the first, from 1, and its columns; None where there is no value."""

    first: int
    columns: dict[str, Column]


# CSV


def csv_blocks(stream: BinaryIO, is_numeric: Callable[[str], bool | None]) -> Iterator[Block]:
    """The rows of a CSV file; whether a column has numbers or texts is told by ``is_numeric``, else (None) by its first value.

    Raises
    ------
    WatchlistError : it is no CSV file, a row has too few or too many values, or a text stands among numbers
    """
    lines = io.TextIOWrapper(stream, "utf-8-sig", newline="")
    number = 0
    try:
        head = lines.readline(LONGEST_LINE)
        if not head.strip():
            raise WatchlistError("the file is empty: its first line must name the columns")
        delimiter = max(DELIMITERS, key=head.count)
        reader = csv.reader(chain([head], lines), delimiter=delimiter, strict=True)
        titles = [name.strip() for name in next(reader)]
        names = [name.removesuffix(TEXT) for name in titles]
        _require_distinct(names)
        kinds = {
            name: False if title.endswith(TEXT) else is_numeric(name) for name, title in zip(names, titles, strict=True)
        }
        rows = filter(None, reader)
        while block := _whole_rows(rows, names, number):
            columns = dict(zip(names, map(list, zip(*block, strict=True)), strict=True))
            yield Block(number + 1, {name: _typed(values, name, number, kinds) for name, values in columns.items()})
            number += len(block)
    except csv.Error as error:
        raise WatchlistError(f"after row {number} the file is no CSV ({error}): is it whole?") from None
    except UnicodeDecodeError as error:
        raise WatchlistError(f"after row {number} the file is not UTF-8 ({error.reason}): save it as UTF-8") from None


def _whole_rows(rows: Iterable[list[str]], names: list[str], number: int) -> list[list[str]]:
    block = list(islice(rows, BLOCK))
    for place, row in enumerate(block, number + 1):
        if len(row) != len(names):
            raise WatchlistError(f"row {place} has {len(row)} values, not {len(names)} as the first line has names: is the file whole?")  # fmt: skip
    return block


def _require_distinct(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise WatchlistError(f"there are {names.count(name)} columns {name!r}: give each a name of its own")


def _typed(values: list[str], name: str, number: int, kinds: dict[str, bool | None]) -> Column:
    """A column's values; whether it has numbers (``kinds``) is found out at its first value."""
    stripped = [value.strip() for value in values]
    if kinds[name] is None:
        first = next((value for value in stripped if not is_missing(value)), None)
        if first is None:
            return [None] * len(values)
        kinds[name] = number_of(first) is not None
    if not kinds[name]:
        return [value or None for value in stripped]
    found: Column = []
    for place, value in enumerate(stripped, number + 1):
        as_number = number_of(value)
        if as_number is None and not is_missing(value):
            raise WatchlistError(f"row {place}, column {name}: {value[:50]!r} is no number, as others are: correct it, or call the column {name}{TEXT}")  # fmt: skip
        found.append(as_number)
    return found


def is_missing(value: Any) -> bool:
    """Whether a value stands for none."""
    return value is None or (isinstance(value, str) and value.lower() in MISSING)


def number_of(value: str) -> float | int | None:
    """A number that is finite; None where it is none."""
    if "_" in value:
        return None
    try:
        whole = int(value)
        return whole if -(2**63) <= whole < 2**63 else float(whole)
    except (ValueError, OverflowError):
        pass
    try:
        number = float(value)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


# FITS


def fits_header(stream: BinaryIO) -> Any:
    """The header of the first extension of a FITS file, and the stream stands at its data.

    Raises
    ------
    WatchlistError : there is none
    """
    primary = _header(stream, "the file")
    size = _padded(primary["NAXIS"] and abs(primary["BITPIX"]) // 8 * int(np.prod([primary[f"NAXIS{n}"] for n in range(1, primary["NAXIS"] + 1)], dtype=object)))  # fmt: skip
    if size > 1 << 30 or len(_exactly(stream, size)) < size:
        raise WatchlistError("the FITS file has an image and no table: save the table as the first extension")
    return _header(stream, "the FITS file's first extension")


def fits_blocks(stream: BinaryIO, header: Any) -> Iterator[Block]:
    """The rows of the binary table with a header.

    Raises
    ------
    WatchlistError : it is no binary table, ends early, or a column has several values a row
    """
    from astropy.io import fits

    if str(header.get("XTENSION")).strip() != "BINTABLE":
        raise WatchlistError(
            f"the FITS file's first extension is {str(header.get('XTENSION'))[:20]!r}, not a binary table (BINTABLE)"
        )
    total, width = header["NAXIS2"], header["NAXIS1"]
    number = 0
    while number < total:
        rows = min(BLOCK, total - number)
        data = _exactly(stream, rows * width)
        if len(data) < rows * width:
            raise WatchlistError(
                f"the FITS file ends in row {number + len(data) // max(width, 1) + 1} of {total}: it is not whole, send it again"
            )
        header["NAXIS2"], header["PCOUNT"] = rows, 0
        whole = fits.PrimaryHDU().header.tostring() + header.tostring()
        with fits.open(io.BytesIO(whole.encode("ascii") + data + bytes(-len(data) % FITS_BLOCK))) as file:
            table = file[1]
            _require_distinct(list(table.columns.names))
            yield Block(number + 1, {name: _values(table, name, number) for name in table.columns.names})
        number += rows


def _header(stream: BinaryIO, what: str) -> Any:
    from astropy.io import fits

    text = ""
    for _ in range(MOST_BLOCKS):
        block = _exactly(stream, FITS_BLOCK)
        if len(block) < FITS_BLOCK:
            break
        text += block.decode("ascii", "replace")
        if any(text[at : at + 8] == "END     " for at in range(len(text) - FITS_BLOCK, len(text), 80)):
            return fits.Header.fromstring(text)
    raise WatchlistError(f"{what} has no whole header: it is not whole, or has no table; send it again")


def _values(table: Any, name: str, number: int) -> Column:
    """A column's values as Python's, None for what is NaN, blank or TNULL."""
    column, values = table.columns[name], table.data[name]
    if values.ndim != 1 or values.dtype.kind not in "biufSU":
        raise WatchlistError(f"column {name} has {column.format!r} a row, not one number or text: leave it out")
    if values.dtype.kind in "SU":
        return [str(value).strip() or None for value in values.tolist()]
    missing = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    if column.null is not None and values.dtype.kind in "iu":
        missing |= values == column.null
    return [None if gone else value for value, gone in zip(values.tolist(), missing.tolist(), strict=True)]


def _padded(size: int) -> int:
    return -(-size // FITS_BLOCK) * FITS_BLOCK


def _exactly(stream: BinaryIO, size: int) -> bytes:
    """So many bytes, fewer only at the end."""
    data = bytearray()
    while len(data) < size and (more := stream.read(min(size - len(data), 1 << 20))):
        data += more
    return bytes(data)
