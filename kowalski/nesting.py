"""How deep values are nested, told before something follows them down that has less stack than that."""

from typing import Any

#: levels of lists and objects in what users send: MongoDB stores some more, and there is stack for several times as many
LEVELS = 120


def is_too_deep(value: Any, levels: int = LEVELS) -> bool:
    """Whether lists and dictionaries are nested in more than so many levels."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    return any(is_too_deep(each, levels - 1) for each in (value.values() if isinstance(value, dict) else value))
