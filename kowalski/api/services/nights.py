"""Nights' books, for whoever asks over the API."""

import asyncio
from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.database.client import connect
from kowalski.database.ledger import Ledger
from kowalski.night.ledger import books_of
from kowalski.settings import Config


class NightService:
    """Makes up books as the MongoDB user that can only read, one night at a time: those of a full night take a second."""

    def __init__(self, config: Config):
        self._database = connect(config.database, "reader")
        self._topics = config.kafka.topics
        self._one = asyncio.Lock()

    async def nights(self) -> list[str]:
        """The nights (YYYYMMDD) of which anything was read, latest first."""
        return await asyncio.to_thread(Ledger(self._database).nights)

    async def books(self, night: str) -> dict[str, Any]:
        """The books of a night (YYYYMMDD).

        Raises
        ------
        BadRequest : nothing of that night was read
        """
        async with self._one:
            books = await asyncio.to_thread(books_of, night, self._database, self._topics)
        if not books.accounts:
            raise BadRequest(f"nothing of the night {night} was read")
        return books.as_dict()

    def close(self) -> None:
        """End the connections."""
        self._database.client.close()
