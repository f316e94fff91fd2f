"""Nights' books, for whoever asks over the API."""

import asyncio
from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.database.client import connect
from kowalski.database.ledger import Ledger
from kowalski.database.nights import Nights
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
        """The books of a night (YYYYMMDD), and where it is.

        Raises
        ------
        BadRequest : nothing of that night was read, and it is not conducted
        """
        async with self._one:
            books = await asyncio.to_thread(books_of, night, self._database, self._topics)
        conducted = await asyncio.to_thread(Nights(self._database).on, night)
        if not books.accounts and not conducted:
            raise BadRequest(f"nothing of the night {night} was read")
        return books.as_dict() | {"conducted": [each.as_dict() for each in conducted]}

    async def report(self, night: str) -> bytes:
        """The report of a night (YYYYMMDD), an HTML page.

        Raises
        ------
        BadRequest : there is none
        """
        page = await asyncio.to_thread(Nights(self._database).report, night)
        if page is None:
            raise BadRequest(f"there is no report of the night {night}: the night conductor writes it when the night is over")  # fmt: skip
        return page

    def close(self) -> None:
        """End the connections."""
        self._database.client.close()
