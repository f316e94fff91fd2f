"""How deep values are nested, told before something follows them down that has less stack than that."""

from typing import Any

#: levels of lists and objects in what users send: MongoDB stores some more, and there is stack for several times as many
LEVELS = 120
HOLDERS = (dict, list)


def is_too_deep(value: Any, levels: int = LEVELS) -> bool:
    """Whether lists and dictionaries are nested in more than so many levels; takes half as long as reading them from JSON."""
    level = [value] if isinstance(value, HOLDERS) else []
    while level and levels:
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, HOLDERS)
        ]
        levels -= 1
    return bool(level)
