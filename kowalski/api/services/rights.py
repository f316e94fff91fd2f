"""Who may read what."""

from dataclasses import dataclass

from kowalski.api.errors import BadRequest, Forbidden

#: collections of Kowalski's own, which only the admin may read; with quarantine* and system.*
CLOSED = frozenset({"users", "filters", "queries", "outbox", "processes", "leases", "skyportal_objects"})
CLOSED_PREFIXES = ("quarantine", "system.")


@dataclass(frozen=True)
class User:
    """Who asks."""

    name: str
    is_admin: bool

    def may_read(self, collection: str) -> bool:
        """Whether a collection is open to this user at all."""
        return self.is_admin or not (collection in CLOSED or collection.startswith(CLOSED_PREFIXES))

    def require_open(self, collection: str) -> None:
        """Raise `BadRequest` where a collection is closed to this user."""
        if not self.may_read(collection):
            raise BadRequest(f"Protected collection: {collection}")

    def require_queries(self) -> None:
        """Raise `Forbidden` for all but the admin: nothing says yet which alerts another user may see."""
        if not self.is_admin:
            raise Forbidden("only the admin may query until rights per user exist")
