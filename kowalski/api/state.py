"""What an application and a request carry with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from kowalski.api.services.accounts import Accounts, Admin
from kowalski.api.services.addresses import Proxies
from kowalski.api.services.classifications import ClassificationService
from kowalski.api.services.cockpit import CockpitService
from kowalski.api.services.cutouts import CutoutService
from kowalski.api.services.drafts import Drafts
from kowalski.api.services.exports import Exports
from kowalski.api.services.filter_fields import FilterFields
from kowalski.api.services.filters import FilterService
from kowalski.api.services.gcn import GcnService
from kowalski.api.services.glance import Glance
from kowalski.api.services.lightcurves import LightCurveService
from kowalski.api.services.limits import Limits
from kowalski.api.services.nights import NightService
from kowalski.api.services.past_alerts import PastAlerts
from kowalski.api.services.personal_tokens import PersonalTokens
from kowalski.api.services.queries import QueryService
from kowalski.api.services.rights import User
from kowalski.api.services.sessions import Session, Sessions
from kowalski.api.services.skymaps import SkymapService
from kowalski.api.services.throttle import Throttle
from kowalski.api.services.tokens import Tokens
from kowalski.api.services.watchlists import WatchlistService
from kowalski.api.shared import Shared
from kowalski.database.catalog_admin import CatalogAdmin
from kowalski.database.classifications import Classifications
from kowalski.database.filter_store import FilterStore
from kowalski.database.gcn import GcnEvents
from kowalski.database.lab_queries import LabQueries
from kowalski.database.logins import Logins
from kowalski.database.queries import Queries
from kowalski.database.skymaps import Skymaps
from kowalski.database.users import Users
from kowalski.database.watchlist_store import WatchlistStore
from kowalski.errors import DatabaseError
from kowalski.log import get_logger
from kowalski.settings import Config, required
from kowalski.telescope.ztf_queue import ZtfQueue

log = get_logger(__name__)


@dataclass(frozen=True)
class Services:
    """All that handlers call, made once per process in its event loop."""

    database: Queries
    queries: QueryService
    exports: Exports
    skymaps: SkymapService
    gcn: GcnService
    accounts: Accounts
    sessions: Sessions
    personal_tokens: PersonalTokens
    filters: FilterService
    watchlists: WatchlistService
    cutouts: CutoutService
    lightcurves: LightCurveService
    bands: Mapping[str, Mapping[int, str | None]]
    classifications: ClassificationService
    ztf_queue: ZtfQueue
    quarantine_bytes: int
    limits: Limits
    nights: NightService
    cockpit: CockpitService
    penquins: frozenset[str]
    proxies: Proxies
    glance: Glance
    skyportal: str | None
    lab_queries: LabQueries
    drafts: Drafts
    filter_fields: FilterFields

    @classmethod
    def of(cls, config: Config, shared: Shared) -> "Services":
        """The services of a configuration; no connection is made yet."""
        server = config.server
        database = Queries(config.database)
        skymaps = SkymapService(Skymaps(config.database), config.skymaps.hosts)
        users = Users(config.database)
        secret = required(server.jwt_secret_key, "server.JWT_SECRET_KEY")
        tokens = Tokens(secret, server.jwt_algorithm, server.jwt_exp_delta_seconds)
        password = required(server.admin_password, "server.admin_password")
        watchlists = WatchlistService(WatchlistStore(config.database))
        queries = QueryService(database, CatalogAdmin(config.database), skymaps, config.misc.max_time_ms)
        filters = FilterService(FilterStore(config.database), PastAlerts(database), watchlists, config.filters)
        admin = Admin(server.admin_username, password, server.contact.email)
        return cls(
            database=database,
            queries=queries,
            exports=Exports(queries, config.tables.export_bytes),
            skymaps=skymaps,
            gcn=GcnService(GcnEvents(config.database)),
            accounts=Accounts(users, tokens, Throttle(Logins(config.database)), shared, admin, server.password_rounds),
            sessions=Sessions(tokens, users, shared, admin.name, server.public_data),
            personal_tokens=PersonalTokens(users, tokens, shared),
            filters=filters,
            watchlists=watchlists,
            cutouts=CutoutService(),
            lightcurves=LightCurveService(),
            bands=config.skyportal.bands,
            classifications=ClassificationService(Classifications(config.database)),
            ztf_queue=ZtfQueue(config.ztf),
            quarantine_bytes=config.broker.quarantine_bytes,
            limits=Limits(shared, server.queries_per_user, server.query_patience),
            nights=NightService(config),
            cockpit=CockpitService(config, database),
            penquins=frozenset(config.misc.supported_penquins_versions),
            proxies=Proxies(server.trusted_proxies),
            glance=Glance(),
            skyportal=config.skyportal.url if config.skyportal.token else None,
            lab_queries=LabQueries(config.database),
            drafts=Drafts(filters),
            filter_fields=FilterFields(filters.past, config),
        )

    async def prepare(self) -> None:
        """Return when MongoDB has all that logins need, however long it takes to be there; other indexes as it can."""
        await self.accounts.prepare()
        for make in (
            self.filters.store.ensure_indexes,
            self.skymaps.stored.ensure_indexes,
            self.skymaps.stored.forget_cells,
            self.watchlists.store.ensure_indexes,
            self.lab_queries.ensure_indexes,
        ):
            try:
                await make()
            except DatabaseError as error:
                log.warning("%s", error)

    def close(self) -> None:
        """End all connections and threads."""
        self.glance.close()
        self.accounts.close()
        self.filters.store.close()
        self.watchlists.store.close()
        self.cutouts.close()
        self.lightcurves.close()
        self.skymaps.close()
        self.gcn.close()
        self.queries.catalogs.close()
        self.classifications.stored.close()
        self.nights.close()
        self.cockpit.close()
        self.lab_queries.close()
        self.database.close()


SERVICES = web.AppKey("services", Services)
DOCUMENT = web.AppKey("document", dict[str, Any])
SESSION = web.RequestKey("session", Session)
USER = web.RequestKey("user", User)
