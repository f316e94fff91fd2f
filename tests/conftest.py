"""Fixtures for all tests: real services started when first asked for and stopped at the end, data by environment."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from kowalski.config import in_container, load_config
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.replica_set import drop_database, prepare
from kowalski.local import ports
from kowalski.local.system import LocalSystem
from kowalski.settings import Config, Database

# how long an example takes says how busy the machine is, and nothing of what is tested
hypothesis.settings.register_profile("kowalski", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("kowalski")

#: the settings of the container that the tests run in, if they do
CONTAINER = pytest.StashKey[Config | None]()


def pytest_configure(config: pytest.Config) -> None:
    """Processes that share the tests have ports of their own; settings of a container serve to find its MongoDB only."""
    config.stash[CONTAINER] = load_config() if in_container() else None
    for variable in [
        name for name in os.environ if in_container() and name.startswith(("KOWALSKI__", "KOWALSKI_CONFIG"))
    ]:
        del os.environ[variable]
    load_config.cache_clear()
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        share = len(ports.RANGE) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        first = ports.RANGE.start + share * int(worker.removeprefix("gw"))
        os.environ[ports.VARIABLE] = f"{first}-{first + share - 1}"


#: folders whose tests share something that takes long to make: all of them go to one process
TOGETHER = ("tests/documentation/", "tests/lab/")


@pytest.hookimpl(optionalhook=True)  # images have no xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests are shared out by file, those of `TOGETHER` by folder."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((folder for folder in TOGETHER if nodeid.startswith(folder)), super()._split_scope(nodeid))

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A system of which each test starts what it needs; its mongod and Kafka serve the whole session."""
    if in_container():
        pytest.skip("its MongoDB or Kafka must be its own, and the images have none")
    system = LocalSystem.isolated(tmp_path_factory.mktemp("services"), {"local": {"mongod_cache_gb": 0.25}})
    yield system
    system.stop()
    assert system.processes() == []
    shutil.rmtree(system.folder)


@pytest.fixture(scope="session")
def mongodb(request: pytest.FixtureRequest) -> Database:
    """A MongoDB for tests: one of their own, in containers the one of all."""
    if container := request.config.stash[CONTAINER]:
        return container.database
    services: LocalSystem = request.getfixturevalue("services")
    services.start(["mongod"])
    return services.config.database


@pytest.fixture(scope="session")
def fresh_database(mongodb: Database) -> Iterator[Callable[[], Database]]:
    """A function that gives the settings of a new, empty database with its own users, dropped at the end where its MongoDB stays."""
    made: list[Database] = []

    def make() -> Database:
        settings = mongodb.model_copy(update={"db": f"kowalski_test_{secrets.token_hex(4)}"})
        prepare(settings, timeout=10)
        made.append(settings)
        return settings

    yield make
    for settings in made if in_container() else ():
        drop_database(settings)


@pytest.fixture
def mongo_settings(fresh_database: Callable[[], Database]) -> Database:
    """Settings of a database that is this test's own."""
    return fresh_database()


@pytest.fixture
def mongo(mongo_settings: Database) -> Iterator[MongoDatabase]:
    """A database that is this test's own, as the writer sees it."""
    database = connect(mongo_settings)
    yield database
    database.client.close()


@pytest.fixture(scope="session")
def kafka(services: LocalSystem) -> str:
    """Address of a Kafka of the tests' own; topics need names that no other test uses."""
    services.start(["kafka"])
    return services.config.kafka.bootstrap_servers


@pytest.fixture
def local_system(tmp_path: Path) -> Iterator[Callable[..., LocalSystem]]:
    """A function that makes a whole system (arguments as `LocalSystem.isolated` after the folder), stopped at the end."""
    if in_container():
        pytest.skip("it starts a system of its own, whose MongoDB and Kafka are not in the images")
    made: list[LocalSystem] = []

    def make(changes: dict[str, Any] | None = None, **arguments: Any) -> LocalSystem:
        made.append(LocalSystem.isolated(arguments.pop("folder", tmp_path / "system"), changes, **arguments))
        return made[-1]

    yield make
    for system in made:
        system.stop()
        assert system.processes() == []


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real packets, named by ``KOWALSKI_TEST_DATA``."""
    return _folder("KOWALSKI_TEST_DATA", "real packets")


@pytest.fixture(scope="session")
def test_models() -> Path:
    """Folder of published weights and their scores, named by ``KOWALSKI_TEST_MODELS``."""
    return _folder("KOWALSKI_TEST_MODELS", "published weights")


def _folder(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} does not name a folder of {what}")
    return Path(value)
