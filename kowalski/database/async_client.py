"""Connections to MongoDB for an event loop; apart from `client`, so that nothing else has to import motor."""

from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient

from kowalski.database.client import Role, client_options
from kowalski.settings import Database

#: ms to wait for a primary; penquins waits 5 s for an answer, and should get one
PATIENCE_MS = 3000
#: ms between looks at a server, and until one that refused us is asked again
HEARTBEAT_MS = 2000


def connect_async(settings: Database, role: Role) -> AsyncIOMotorClient[dict[str, Any]]:
    """A client for an event loop; the connection is made at first use."""
    own = {"serverSelectionTimeoutMS": PATIENCE_MS, "heartbeatFrequencyMS": HEARTBEAT_MS}
    return AsyncIOMotorClient(**client_options(settings, role) | own)
