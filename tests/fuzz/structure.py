"""Mutation of trees of lists and mappings, where bytes alone would seldom give another valid text."""

import copy
import json
from itertools import islice
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "0", "null", "$", "$$", "a.b", ".", "\0", "\ud800", "é" * 20, "1e999", [], {}, [[]], [{}], {"": ""}, [None, 0],
)  # fmt: skip
#: levels of a tree that is made deep
DEPTHS = (3, 40, 99, 101, 300)


def mutated(tree: Any, chance: Random, words: tuple[Any, ...]) -> Any:
    """A copy of a tree with one to four changes, for which ``words`` are the values and keys that mean something."""
    whole = [copy.deepcopy(tree)]
    for _ in range(chance.choice((1, 1, 2, 4))):
        _change(whole, chance, words)
    return whole[0]


def _change(whole: list[Any], chance: Random, words: tuple[Any, ...]) -> None:
    places = list(islice(_places(whole), 2000))  # YAML has trees that hold themselves
    holder, key = chance.choice(places)
    match chance.randrange(8):
        case 0:
            holder[key] = copy.deepcopy(chance.choice(ODD))
        case 1 | 2:
            holder[key] = copy.deepcopy(chance.choice(words))
        case 3:
            other, place = chance.choice(places)
            holder[key] = copy.deepcopy(other[place])
        case 4:
            word = chance.choice(words)
            holder[key] = {word if isinstance(word, str) else "x": holder[key]}
        case 5 if isinstance(holder, dict):
            word = chance.choice(words)
            holder[word if isinstance(word, str) else str(word)] = holder.pop(key)
        case 6 if holder is not whole:
            del holder[key]
        case _:
            holder[key] = _deeper(holder[key], chance)


def _deeper(value: Any, chance: Random) -> Any:
    for _ in range(chance.choice(DEPTHS) if chance.random() < 0.1 else 1):
        value = [value]
    return value


def _places(node: Any) -> Any:
    """Holder and key of every value of a tree."""
    todo = [node]
    while todo:
        holder = todo.pop()
        for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            yield holder, key
            if isinstance(value, dict | list):
                todo.append(value)


def mutated_json(data: bytes, chance: Random, words: tuple[Any, ...]) -> bytes | None:
    """A JSON text with its tree changed; None: it isn't one, or the change has no JSON."""
    try:
        return json.dumps(mutated(json.loads(data), chance, words)).encode()
    except (ValueError, RecursionError, TypeError):
        return None
