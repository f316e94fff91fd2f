"""What the API's admin may do to catalogues."""

from kowalski.database.async_client import connect_async
from kowalski.database.client import translated
from kowalski.settings import Database


class CatalogAdmin:
    """Drops collections; use it in an event loop."""

    def __init__(self, settings: Database):
        self.client = connect_async(settings, "writer")
        self.database = self.client[settings.db]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    async def drop(self, catalog: str) -> bool:
        """A collection is gone; whether there was one."""
        with translated(f"drop {catalog}"):
            if catalog not in await self.database.list_collection_names():
                return False
            await self.database.drop_collection(catalog)
        return True
