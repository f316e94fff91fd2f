"""With which versions of the catalogues objects are matched, as a name that stands in each object's document."""

import math
from collections.abc import Mapping
from time import monotonic

from kowalski.database.catalog_versions import CatalogVersions
from kowalski.database.client import MongoDatabase
from kowalski.database.provenance import Provenance
from kowalski.errors import DatabaseError, DatabaseUnavailable
from kowalski.log import get_logger
from kowalski.provenance.records import catalogs_record
from kowalski.settings import Recipe

log = get_logger(__name__)

#: s for which versions are not looked up again: for so long after a catalogue was replaced, matches may name the one before
FRESH = 15.0


class MatchVersions:
    """Names the versions that catalogues have now, looked up now and then."""

    def __init__(self, database: MongoDatabase):
        self.versions, self.provenance = CatalogVersions(database), Provenance(database)
        self._known: dict[frozenset[str], tuple[str | None, float]] = {}

    def reference(self, recipes: Mapping[str, Recipe]) -> str | None:
        """``_id`` of the record of the versions of some catalogues and of their recipes; None where these can't be looked up.

        Raises
        ------
        DatabaseUnavailable : MongoDB is out of reach
        """
        key = frozenset(recipes)
        found, read_at = self._known.get(key, (None, -math.inf))
        if monotonic() >= read_at + FRESH:
            found = self._looked_up(recipes)
            self._known = {key: (found, monotonic())} if len(self._known) > 20 else {**self._known, key: (found, monotonic())}  # fmt: skip
        return found

    def _looked_up(self, recipes: Mapping[str, Recipe]) -> str | None:
        try:
            current = self.versions.current(recipes)
            return self.provenance.put(catalogs_record(current, recipes)) if current else None
        except DatabaseUnavailable:
            raise
        except DatabaseError as error:
            log.warning("matches are stored without the versions of their catalogues: %s", error)
            return None
