"""What became of messages, one bit per message and outcome: the same mark made any number of times is one mark."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kowalski.alerts.decode import Packet
from kowalski.alerts.survey import Survey

#: offsets in a block, which is one document of the ledger, and in a word of it
BLOCK, WORD = 4096, 64


class Place(NamedTuple):
    """A block of a night's offsets."""

    topic: str
    partition: int
    night: str
    block: int


class Marks:
    """Outcomes of a survey's messages that are not in the ledger yet.

    ``acknowledged``: all that the message causes is stored. ``known``: another message brought its alert before. ``passed``: a
    filter let its alert through; ``owed``: and SkyPortal is to have it. ``withdrawn``: its survey had taken the alert back, so that
    no filter saw it.
    """

    def __init__(self, survey: Survey):
        self.survey = survey
        self._offsets: dict[Place, dict[str, set[int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._offsets)

    def add(self, outcome: str, packet: Packet) -> None:
        """Mark a message; what did not come from Kafka has no place in the ledger."""
        if packet.topic and ":" not in packet.topic:  # a file's topic has one, Kafka's can't
            place = Place(packet.topic, packet.partition, night_of(self.survey, packet), packet.offset // BLOCK)
            self._offsets.setdefault(place, {}).setdefault(outcome, set()).add(packet.offset % BLOCK)

    def words(self) -> Iterator[tuple[Place, dict[str, int]]]:
        """Of each block ``outcome.number of the word`` -> its bits, as a signed integer of 64 bits."""
        for place, outcomes in self._offsets.items():
            bits: dict[str, int] = {}
            for outcome, offsets in outcomes.items():
                for offset in offsets:
                    key = f"{outcome}.{offset // WORD}"
                    bits[key] = bits.get(key, 0) | 1 << offset % WORD
            yield place, {key: word - (1 << WORD if word >> WORD - 1 else 0) for key, word in bits.items()}

    def clear(self) -> None:
        """All of them are in the ledger."""
        self._offsets.clear()


def night_of(survey: Survey, packet: Packet) -> str:
    """The night (YYYYMMDD) that a message belongs to: its topic's, or that in which Kafka got it."""
    return survey.night_of(packet.topic) or f"{survey.night_at(packet.timestamp):%Y%m%d}"


def offsets_of(block: int, words: dict[str, int]) -> np.ndarray:
    """The offsets that a block's words mark, ascending, int64 of shape (n,)."""
    bits = np.zeros(BLOCK // WORD, np.int64)
    for number, word in words.items():
        bits[int(number)] = word
    places = np.unpackbits(bits.astype("<i8").view(np.uint8), bitorder="little")
    return np.flatnonzero(places) + block * BLOCK
