"""Short names of contents: the same contents have the same one, on every machine and at any time."""

import hashlib
import json
from typing import Any

#: hexadecimal digits of a name: of a million different contents, two have the same one once in 10**7 archives
DIGITS = 16


def digest(contents: Any, digits: int = DIGITS) -> str:
    """The first digits of the sha256 of contents written as JSON with sorted keys."""
    return text_digest(json.dumps(contents, sort_keys=True, separators=(",", ":")), digits)


def text_digest(text: str, digits: int = DIGITS) -> str:
    """The first digits of a text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
