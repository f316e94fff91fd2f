"""What an application and a request carry with them."""

from dataclasses import dataclass

from aiohttp import web

from kowalski.api.services.accounts import Accounts
from kowalski.api.services.queries import QueryService
from kowalski.api.services.rights import User
from kowalski.api.services.tokens import Tokens
from kowalski.database.queries import Queries
from kowalski.database.users import Users
from kowalski.errors import ConfigError
from kowalski.settings import Config


@dataclass(frozen=True)
class Services:
    """All that handlers call, made once per process in its event loop."""

    database: Queries
    queries: QueryService
    accounts: Accounts
    tokens: Tokens
    admin: str
    penquins: frozenset[str]

    @classmethod
    def of(cls, config: Config) -> "Services":
        """The services of a configuration; no connection is made yet."""
        server = config.server
        database = Queries(config.database)
        return cls(
            database=database,
            queries=QueryService(database, config.misc.max_time_ms),
            accounts=Accounts(
                Users(config.database),
                server.admin_username,
                required(server.admin_password, "server.admin_password"),
                server.contact.email,
            ),
            tokens=Tokens(
                required(server.jwt_secret_key, "server.JWT_SECRET_KEY"),
                server.jwt_algorithm,
                server.jwt_exp_delta_seconds,
            ),
            admin=server.admin_username,
            penquins=frozenset(config.misc.supported_penquins_versions),
        )

    def close(self) -> None:
        """End all connections and threads."""
        self.accounts.close()
        self.database.close()

    def user(self, token: str) -> User:
        """Who a token says that asks; raises `BadRequest` where it says nothing valid."""
        name = self.tokens.read(token)
        return User(name, name == self.admin)


def required(value: str | None, path: str) -> str:
    """A setting without which the API can't start; raises `ConfigError`."""
    if not value:
        raise ConfigError(f"{path} is not set: ./kowalski.py up makes one, or set it in config.yaml")
    return value


SERVICES = web.AppKey("services", Services)
USER = web.RequestKey("user", User)
