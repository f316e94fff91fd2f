"""Settings: typed, closed, and each one written down."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args, get_origin

import pytest

from kowalski.alert_broker_ztf import SURVEY as ZTF
from kowalski.alerts.survey import known_surveys
from kowalski.config import (
    ROOT,
    build,
    merge,
    read_settings,
    settings_tree,
)
from kowalski.errors import ConfigError
from kowalski.settings import Config, ModelSettings, Recipe, Section, SurveyModels
from kowalski.transients_section import Redshift

#: sections whose fields have defaults in the code, since there is any number of them
OPEN_ENDED = (Recipe, ModelSettings, SurveyModels, Redshift)


def tree(**environment: str) -> dict[str, Any]:
    return settings_tree([], environment)


def refused(changes: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(merge(tree(), changes))
    return str(caught.value)


def at(settings: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """The settings as nested under a path."""
    return {path[0]: at(settings, *path[1:])} if path else dict(settings)


def test_the_defaults_are_valid() -> None:
    config = build(tree())
    assert config.server.port == 4000
    assert config.misc.broker is False
    assert config.dask_for("ZTF").scheduler_port == 8786
    assert config.dask_for("PGIR").address == "tcp://127.0.0.1:8788"
    assert len(config.database.xmatch["ZTF"]) == 14
    assert config.skyportal.url == "http://skyportal-web-1:5000"
    assert config.loopback_only


def test_the_local_ones_too() -> None:
    config = build(settings_tree([ROOT / "config.local.yaml"], {}))
    assert config.database.replica_set == "rs0"
    assert (config.dask_for("ZTF").n_workers, config.dask_for("WNTR").n_workers) == (2, 1)


def test_no_secret_has_a_default() -> None:
    config = build(tree())
    secrets = (config.server.admin_password, config.server.jwt_secret_key, config.database.admin_password,
               config.database.password, config.database.reader_password, config.skyportal.token, config.tns.api_key)  # fmt: skip
    assert set(secrets) == {None}


@pytest.mark.parametrize(
    ("path", "valid"),
    [
        (("server", "prot"), "port"),
        (("dask", "workers"), "n_workers"),
        (("kafka", "bootstrap_server"), "bootstrap.servers"),
        (("database", "hosts"), "host"),
        (("database", "xmatch", "ZTF", "Gaia_EDR3", "radius"), "cone_search_radius"),
        (("ml", "ZTF", "models", "braai", "weights"), "url"),
        (("ml", "ZTF", "model"), "models"),
        (("dask_pgir", "workers"), "n_workers"),
        (("skyportl",), "skyportal"),
        (("server", "contact", "mail"), "email"),
    ],
)
def test_an_unknown_key_is_named_with_the_valid_ones(path: tuple[str, ...], valid: str) -> None:
    text = refused(at({path[-1]: 1}, *path[:-1]))
    line = next(line for line in text.splitlines() if "is not a setting" in line)
    named, _, names = line.partition(" is not a setting; valid names there: ")
    assert named == ".".join(path)
    assert valid in names.split(", ")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("server", "port"), "many"),
        (("server", "port"), 0),
        (("server", "port"), 70_000),
        (("server", "processes"), 0),
        (("server", "host"), None),
        (("misc", "broker"), "perhaps"),
        (("kafka", "auto.offset.reset"), "middle"),
        (("database", "xmatch", "ZTF", "Gaia_EDR3", "cone_search_unit"), "parsec"),
        (("database", "xmatch", "ZTF", "Gaia_EDR3", "cone_search_radius"), -1),
        (("ml", "backend"), "abacus"),
        (("ml", "ZTF", "models", "braai", "version"), ""),
        (("ml", "ZTF", "models", "braai", "format"), "pkl"),
        (("server",), 5),
        (("enabled",), ["ztf"]),
        (("broker", "inline_quarantine_bytes"), 16_000_000),
    ],
)
def test_a_wrong_value_is_named_with_its_path(path: tuple[str, ...], value: Any) -> None:
    text = refused(at({path[-1]: value}, *path[:-1]))
    assert text.splitlines()[0].startswith(f"{'.'.join(path)}: ")


@pytest.mark.parametrize(
    "path", [("database", "password"), ("skyportal", "token"), ("server", "JWT_SECRET_KEY"), ("tns", "api_key")]
)
def test_a_secret_is_not_repeated(path: tuple[str, str]) -> None:
    text = refused(at({path[1]: 31415}, path[0]) if path[1] != "api_key" else {"tns": {"api_key": [31415]}})
    assert text.startswith(f"{'.'.join(path)}: ")
    assert "31415" not in text


def test_all_mistakes_are_named_at_once() -> None:
    text = refused({"server": {"prot": 1, "port": "x"}, "ml": {"backend": "abacus"}})
    assert len(text.splitlines()) == 3


def test_settings_cannot_be_changed_later() -> None:
    config = build(tree())
    with pytest.raises(ValueError, match="frozen"):
        config.server.port = 1  # type: ignore[misc]


def test_a_new_survey_needs_only_its_module_and_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kowalski.config.known_surveys", lambda: [*known_surveys(), replace(ZTF, name="DECAM")])
    changes = {
        "dask_decam": tree()["dask"] | {"scheduler_port": 9999},
        "ml": {"DECAM": {"models": {"net": {"version": "1"}}}},
        "kafka": {"DECAM": {"bootstrap.servers": "there:9092", "sasl.mechanism": "GSSAPI"}},
        "enabled": {"decam": True},
        "database": {"xmatch": {"DECAM": {"milliquas": {"cone_search_radius": 1, "cone_search_unit": "arcsec"}}}},
    }
    config = build(merge(tree(), changes))
    assert config.dask_for("DECAM").scheduler_port == 9999
    assert config.ml.surveys["DECAM"].models["net"].triplet
    assert config.kafka.surveys["DECAM"] == {"bootstrap.servers": "there:9092", "sasl.mechanism": "GSSAPI"}
    assert config.database.xmatch["DECAM"]["milliquas"].use_distance is False
    assert set(config.ml.surveys) == {"ZTF", "DECAM"}


@pytest.mark.parametrize(
    ("changes", "section"),
    [
        ({"enabled": {"zft": True}}, "enabled: there is no survey zft; there are: lsst, pgir, turbo, wntr, ztf"),
        ({"kafka": {"ZTFF": {"group.id": "x"}}}, "kafka: there is no survey ZTFF"),
        ({"ml": {"ZTFF": {"models": {}}}}, "ml: there is no survey ZTFF"),
        ({"skyportal": {"bands": {"FOO": {1: "sdssg"}}}}, "skyportal.bands: there is no survey FOO"),
        ({"database": {"xmatch": {"FOO": {}}}}, "database.xmatch: there is no survey FOO"),
    ],
)
def test_settings_of_no_survey_are_named(changes: dict[str, Any], section: str) -> None:
    assert refused(changes).startswith(section)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["drb", "rb"], ("drb", "rb")),
        ("('drb', 'rb')", ("drb", "rb")),
        ("('drb',)", ("drb",)),
        ("['drb', 'rb']", ("drb", "rb")),
        (False, ()),
        (None, ()),
        (True, True),
    ],
)
def test_feature_names_may_be_the_text_of_a_tuple(given: Any, names: Any) -> None:
    changes = at({"feature_names": given}, "ml", "ZTF", "models", "acai_h")
    assert build(merge(tree(), changes)).ml.surveys["ZTF"].models["acai_h"].feature_names == names


@pytest.mark.parametrize("given", ["drb, rb", "(drb,)", "('drb'", "5", "__import__('os')", ["drb", 5], "('drb', 5)"])
def test_other_texts_are_no_feature_names(given: Any) -> None:
    assert "feature_names" in refused(at({"feature_names": given}, "ml", "ZTF", "models", "acai_h"))


def test_allowed_features_as_the_original_wrote_them() -> None:
    changes = at({"allowed_features": "('drb', 'ra')"}, "ml", "ZTF")
    assert build(merge(tree(), changes)).ml.surveys["ZTF"].allowed_features == ("drb", "ra")


def written(settings: Any, model: Any, path: str = "") -> Iterator[str]:
    """Complaints about settings without a field and fields without a setting."""
    if isinstance(model, type) and issubclass(model, Section):
        if isinstance(settings, Section):
            settings = {field.alias or name: getattr(settings, name) for name, field in model.model_fields.items()}
        fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
        for name in fields.keys() - settings.keys():
            if model not in OPEN_ENDED:
                yield f"{path}{name} has no default in config.defaults.yaml"
        for name in settings.keys() - fields.keys():
            yield f"{path}{name} has no type in kowalski.settings"
        for name in fields.keys() & settings.keys():
            yield from written(settings[name], fields[name], f"{path}{name}.")
    elif get_origin(model) is dict and isinstance(get_args(model)[1], type) and issubclass(get_args(model)[1], Section):
        for name, section in settings.items():
            yield from written(section, get_args(model)[1], f"{path}{name}.")


def test_every_setting_has_a_type_and_every_type_a_default() -> None:
    settings = read_settings(ROOT / "config.defaults.yaml")
    settings["dask"] = {"ztf": settings["dask"]} | {
        key: settings.pop(key) for key in list(settings) if key.startswith("dask_")
    }
    ml = settings["ml"]
    ml["surveys"] = {key: ml.pop(key) for key in list(ml) if key.isupper()}
    assert list(written(settings, Config)) == []


def test_the_local_file_changes_known_settings_only() -> None:
    defaults, local = read_settings(ROOT / "config.defaults.yaml"), read_settings(ROOT / "config.local.yaml")
    for section, settings in local.items():
        assert settings.keys() <= defaults[section].keys(), section


def test_an_empty_section_says_nothing() -> None:
    """``server:`` with nothing under it leaves the defaults."""
    assert merge({"server": {"port": 4000}}, {"server": None}) == {"server": {"port": 4000}}
