"""Documents as rows: nested ones with dotted names, whatever else they hold as text."""

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from bson import json_util

#: characters of what a list or another value looks like in a table
LONGEST = 160
#: as MongoDB nests at most
DEEPEST = 100
#: values of one document that are taken for a table or a plot; files have all
WIDEST = 5000


def flat(document: Mapping[str, Any], most: int | None = None) -> dict[str, Any]:
    """What a document holds by dotted names, the first ``most`` of them; lists stay whole."""
    return dict(islice(_leaves(document, "", 0), most))


def _leaves(value: Mapping[str, Any], before: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        name = f"{before}{key}"
        if isinstance(item, Mapping) and item and depth < DEEPEST:
            yield from _leaves(item, f"{name}.", depth + 1)
        else:
            yield name, item


def row_of(catalog: str, key: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a search in several catalogues around several positions: it says which; fields of those names give way."""
    own = flat(document, WIDEST)
    return {"catalog": catalog, "key": key} | {
        f"document.{name}" if name in ("catalog", "key") else name: value for name, value in own.items()
    }


def is_number(value: Any) -> bool:
    """Whether a value can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def written(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return _short(f"[{len(value)}] {_text(value[:5])}" if value else "[]")
    return _short(value if isinstance(value, str) else _text(value))


def spelt(value: Any) -> Any:
    """A value as a CSV file has it: whole; bytes in base64, lists as JSON, texts that a spreadsheet would run made harmless."""
    if value is None or is_number(value):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    return harmless(value if isinstance(value, str) else _text(value))


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula: such get an apostrophe before them."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")) else text


def _text(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if not isinstance(value, list | dict):
        return str(value)
    return json_util.dumps(value, ensure_ascii=False, json_options=json_util.RELAXED_JSON_OPTIONS)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
