"""One target under libFuzzer: ``python -m tests.fuzz.child TARGET [libFuzzer's arguments]``; it ends at the first crash."""

import logging
import sys
from importlib import import_module
from random import Random

import atheris

#: what is watched for new paths
WATCHED = [
    "kowalski.alerts",
    "kowalski.api.models",
    "kowalski.api.services",
    "kowalski.filters",
    "kowalski.config",
    "kowalski.settings",
    "bson.json_util",
]


def main() -> None:
    name = sys.argv.pop(1)
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=WATCHED):
        target = import_module(f"tests.fuzz.{name}")

    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        """Of two mutations one keeps the structure; those of libFuzzer know which bytes were compared with what."""
        chance = Random(seed)
        changed = target.mutated(bytes(data), chance) if chance.random() < 0.6 else None
        if changed is None or len(changed) > max_size:
            changed = atheris.Mutate(bytes(data), max_size)
        return bytes(changed)

    atheris.Setup(sys.argv, target.run, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
