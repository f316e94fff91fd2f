"""Settings: merged from files and environment in the order that is promised."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kowalski import config as config_module
from kowalski.config import (
    LIVE_SECTIONS,
    RETIRED,
    ROOT,
    build,
    default_files,
    isolated_tree,
    load_config,
    merge,
    override,
    settings_tree,
)
from kowalski.errors import ConfigError
from kowalski.settings import Config

#: the older default file's sections that the reference (its section 2) names, with what stood in them
OF_VERSION_3: dict[str, Any] = {
    "server": {"SECRET_KEY": "abc0123", "fernet_key": "x"},
    "kafka": {
        "default.topic.config.auto.offset.reset": "earliest", "scala_version": 2.13, "kafka_version": "3.4.1",
        "path": "kafka_2.13-3.4.1", "zookeeper": "h:2181", "zookeeper.test": "localhost:2181",
    },
    "database": {"collections": {"users": "users"}, "indexes": {}, "filters": {}},
    "skyportal": {"username": "kowalski"},
    "misc": {"query_expiration_interval": 5, "max_retries": 100, "logging_level": "debug", "openapi_validate": False},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    load_config.cache_clear()
    yield
    load_config.cache_clear()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's own settings files, in place of the real one."""
    for name in ("config.defaults.yaml", "config.local.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(config_module, "ROOT", tmp_path)
    monkeypatch.delenv("KOWALSKI_CONFIG", raising=False)
    monkeypatch.delenv("USING_DOCKER", raising=False)
    for name in list(config_module.os.environ):
        if name.upper().startswith("KOWALSKI__"):
            monkeypatch.delenv(name)
    return tmp_path


def write(folder: Path, settings: Mapping[str, Any], name: str = "config.yaml") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump({"kowalski": dict(settings)}))
    return path


def tree(**environment: str) -> dict[str, Any]:
    return settings_tree([], environment)


# files ---------------------------------------------------------------------------------------------------------------


def test_files_are_merged_in_their_order(root: Path) -> None:
    first = write(
        root, {"server": {"port": 1, "host": "a"}, "misc": {"supported_penquins_versions": ["1.0.0"]}}, "a.yaml"
    )
    second = write(root, {"server": {"port": 2}}, "b.yaml")
    config = build(settings_tree([first, second, root / "missing.yaml"], {}))
    assert (config.server.port, config.server.host, config.server.processes) == (2, "a", 4)
    assert config.misc.supported_penquins_versions == ("1.0.0",), "lists are replaced"


def test_merging_copies() -> None:
    changes = {"a": {"b": {"c": 1}}}
    merged = merge({}, changes)
    merged["a"]["b"]["c"] = 2
    assert changes == {"a": {"b": {"c": 1}}}


def test_the_folders_own_files(root: Path) -> None:
    write(root, {"server": {"port": 4001}})
    config = load_config()
    assert (config.server.port, config.server.processes) == (4001, 2)
    assert load_config() is config


def test_in_a_container_or_beside_docker_compose_local_mode_does_not_count(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_files() == [root / "config.local.yaml", root / "config.yaml"]
    (root / "docker-compose.yaml").touch()
    assert default_files() == [root / "config.yaml"]
    (root / "docker-compose.yaml").unlink()
    monkeypatch.setenv("USING_DOCKER", "true")
    assert default_files() == [root / "config.yaml"]


def test_one_file_may_be_named_instead(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, {"server": {"port": 4001}})
    named = write(root, {"server": {"host": "::1"}}, "other.yaml")
    monkeypatch.setenv("KOWALSKI_CONFIG", str(named))
    config = load_config()
    assert (config.server.port, config.server.host) == (4000, "::1")


def test_the_named_file_has_to_exist(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOWALSKI_CONFIG", str(root / "nowhere.yaml"))
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config()


@pytest.mark.parametrize(
    "text", ["kowalski: [", "a: b: c", "other: {}", "- kowalski", "kowalski: [1, 2]", "kowalski: text", "text"]
)
def test_files_that_hold_no_settings(root: Path, text: str) -> None:
    (root / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_config()


@pytest.mark.parametrize("text", ["", "# nothing yet", "kowalski:", "kowalski: {}"])
def test_files_that_hold_nothing(root: Path, text: str) -> None:
    (root / "config.yaml").write_text(text)
    assert load_config().server.port == 4000


# environment ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("KOWALSKI__SERVER__PORT", "4010", "server.port", 4010),
        ("kowalski__server__port", "4010", "server.port", 4010),
        ("Kowalski__Server__Host", "0.0.0.0", "server.host", "0.0.0.0"),
        ("KOWALSKI__KAFKA__BOOTSTRAP_SERVERS", "a:1,b:2", "kafka.bootstrap_servers", "a:1,b:2"),
        ("KOWALSKI__KAFKA__AUTO_OFFSET_RESET", "latest", "kafka.auto_offset_reset", "latest"),
        ("KOWALSKI__SERVER__JWT_SECRET_KEY", "s3cret", "server.jwt_secret_key", "s3cret"),
        ("KOWALSKI__SERVER__JWT_EXP_DELTA_SECONDS", "300", "server.jwt_exp_delta_seconds", 300),
        ("KOWALSKI__MISC__BROKER", "true", "misc.broker", True),
        ("KOWALSKI__DATABASE__REPLICA_SET", "null", "database.replica_set", None),
        ("KOWALSKI__MISC__SUPPORTED_PENQUINS_VERSIONS", "[2.4.0]", "misc.supported_penquins_versions", ("2.4.0",)),
    ],
)
def test_a_variable_overrides_a_setting(variable: str, text: str, path: str, value: Any) -> None:
    config: Any = build(tree(**{variable: text}))
    for part in path.split("."):
        config = getattr(config, part)
    assert config == value


def test_settings_of_surveys_too() -> None:
    config = build(
        tree(
            KOWALSKI__DASK_PGIR__N_WORKERS="7",
            KOWALSKI__ML__ZTF__MODELS__BRAAI__VERSION="d7",
            KOWALSKI__DATABASE__XMATCH__ZTF__GAIA_EDR3__CONE_SEARCH_RADIUS="3",
            KOWALSKI__ENABLED__ZTF="false",
        )
    )
    assert config.dask_for("PGIR").n_workers == 7
    assert config.ml.surveys["ZTF"].models["braai"].version == "d7"
    assert config.database.xmatch["ZTF"]["Gaia_EDR3"].cone_search_radius == 3
    assert config.enabled["ztf"] is False


def test_files_are_overridden_by_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, {"server": {"port": 4001}})
    monkeypatch.setenv("kowalski__server__PORT", "4002")
    assert load_config().server.port == 4002


@pytest.mark.parametrize(
    ("variable", "valid"),
    [
        ("KOWALSKI__SERVER__PROT", "port"),
        ("KOWALSKI__SERVR__PORT", "server"),
        ("KOWALSKI__ML__PGIR__MODELS", "ZTF"),
        ("kowalski__dask_pigr__host", "dask_pgir"),
    ],
)
def test_a_variable_that_names_no_setting_is_refused(variable: str, valid: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tree(**{variable: "1"})
    assert variable in str(caught.value)
    assert valid in str(caught.value)


def test_other_variables_are_not_meant() -> None:
    given = {"KOWALSKI_TEST_DATA": "x", "KOWALSKI_CONFIG": "y", "PATH": "z", "NOTKOWALSKI__SERVER__PORT": "1", "__": ""}
    settings = tree()
    override(settings, given)
    assert settings == tree()


@pytest.mark.parametrize(
    "secret", ["12345", "0123", "1e5", "yes", "@home", "a: b: c", "*star", "&and", "#no", "[x", "p #w", "'q"]
)
@pytest.mark.parametrize(
    "variable", ["KOWALSKI__DATABASE__PASSWORD", "KOWALSKI__SKYPORTAL__TOKEN", "KOWALSKI__SERVER__NAME"]
)
def test_text_is_taken_as_it_is(variable: str, secret: str) -> None:
    config: Any = build(tree(**{variable: secret}))
    _, section, key = variable.lower().split("__")
    assert getattr(getattr(config, section), key) == secret


def test_text_that_is_no_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="KOWALSKI__SERVER__PORT"):
        tree(KOWALSKI__SERVER__PORT="[")


# settings of older versions ------------------------------------------------------------------------------------------


def test_retired_keys_warn_once_and_name_their_successor(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(root, OF_VERSION_3)
    with caplog.at_level(logging.WARNING):
        load_config()
        load_config()
    retired = {f"{section}.{key}" for section, keys in OF_VERSION_3.items() for key in keys}
    assert retired == set(RETIRED)
    assert len(caplog.messages) == len(retired)
    for path, successor in RETIRED.items():
        assert [
            message for message in caplog.messages if message == f"config.yaml: {path} is no longer used: {successor}"
        ]


def test_a_retired_keys_successor_exists() -> None:
    config = build(tree())
    assert config.local.kafka_version
    assert config.kafka.auto_offset_reset == "earliest"
    assert "JWT_SECRET_KEY" in Config.names_at(("server",))


def test_the_older_name_of_the_models(root: Path) -> None:
    older = {
        "ml_models": {"ZTF": {"braai": {"version": "d9", "triplet": True, "feature_names": False, "format": "h5"}}}
    }
    write(root, older)
    models = load_config().ml.surveys["ZTF"].models
    assert models["braai"].version == "d9"
    assert "acai_h" in models


def test_the_older_name_in_the_newer_shape(root: Path) -> None:
    write(root, {"ml_models": {"ZTF": {"allowed_features": "('drb',)", "models": {"braai": {"version": "d9"}}}}})
    section = load_config().ml.surveys["ZTF"]
    assert section.models["braai"].version == "d9"
    assert section.allowed_features == ("drb",)


# systems of their own ------------------------------------------------------------------------------------------------


def test_an_isolated_system_takes_nothing_live(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        root,
        {
            "database": {"host": "live.example.org", "password": "live", "db": "live", "srv": True},
            "kafka": {"bootstrap.servers": "live:9092", "ZTF": {"sasl.password": "live"}, "group": "live"},
            "skyportal": {"host": "live.example.org", "token": "live"},
            "server": {"port": 4001},
        },
    )
    monkeypatch.setenv("KOWALSKI__DATABASE__USERNAME", "live")
    monkeypatch.setenv("KOWALSKI__KAFKA__BOOTSTRAP_TEST_SERVERS", "live:9092")
    monkeypatch.setenv("kowalski__skyportal__token", "live")
    monkeypatch.setenv("KOWALSKI__SERVER__PROCESSES", "3")
    isolated = isolated_tree({"dask": {"n_workers": 1}})
    untouched = settings_tree([root / "config.local.yaml"], {})
    for section in LIVE_SECTIONS:
        assert isolated[section] == untouched[section]
    assert "live" not in yaml.safe_dump({section: isolated[section] for section in LIVE_SECTIONS})
    config = build(isolated)
    assert (config.server.port, config.server.processes, config.dask_for("ZTF").n_workers) == (4001, 3, 1)


def test_an_isolated_system_does_not_care_for_a_broken_live_one(root: Path) -> None:
    (root / "config.yaml").write_text("kowalski:\n  database:\n  kafka: 5\n  skyportal: {tokn: 5}\n")
    assert build(isolated_tree()).database.host == "127.0.0.1"
