"""Secrets are made once, written where they belong, and never replace what somebody set."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kowalski.config import build, isolated_tree
from kowalski.errors import ConfigError
from kowalski.local.secrets import make_missing, refuse_published, write_env, write_missing
from kowalski.settings import Config

ALL = {
    "server.admin_password",
    "server.JWT_SECRET_KEY",
    "database.admin_password",
    "database.password",
    "database.reader_password",
}
SETTINGS = """\
# my settings
kowalski:
  server:            # the API
    admin_password: "chosen"   # by me
    port: 4001
  kafka:
    group: night
  ztf_depot: {username: me, password: null}  # a person
"""


def config(**sections: Any) -> Config:
    tree = isolated_tree(sections)
    make_missing(tree)
    return build(tree)


def test_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert set(write_missing(path, [path])) == ALL
    assert path.stat().st_mode & 0o777 == 0o600
    written = yaml.safe_load(path.read_text())["kowalski"]
    values = [*written["server"].values(), *written["database"].values()]
    assert len(set(values)) == 5
    assert all(len(value) >= 24 for value in values)


def test_second_time_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    write_missing(path, [path])
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert write_missing(path, [path]) == []
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_what_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    """Also where no secret had to be made: others stand there that somebody else wrote."""
    path, env, known = tmp_path / "config.yaml", tmp_path / ".env", config()
    for _ in range(2):
        write_missing(path, [path])
        write_env(env, known)
        assert [each.stat().st_mode & 0o777 for each in (path, env)] == [0o600, 0o600]
        path.chmod(0o664)
        env.chmod(0o644)


def test_comments_and_values_stay(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(SETTINGS)
    path.chmod(0o644)
    assert set(write_missing(path, [path])) == ALL - {"server.admin_password"}
    text = path.read_text()
    assert [line for line in SETTINGS.splitlines() if line not in text.splitlines()] == []
    assert yaml.safe_load(text)["kowalski"]["server"]["admin_password"] == "chosen"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "# nothing yet\n", "kowalski:\n", "kowalski: {}\n", "kowalski:\n  database: {}\n"]
)
def test_files_with_hardly_anything_in_them(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert set(write_missing(path, [path])) == ALL
    assert path.read_text().startswith(text if text.startswith("#") else ("#" if not text else "kowalski:"))
    assert set(yaml.safe_load(path.read_text())["kowalski"]) == {"server", "database"}


def test_secret_from_the_environment_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOWALSKI__DATABASE__PASSWORD", "from-outside")
    path = tmp_path / "config.yaml"
    assert set(write_missing(path, [path])) == ALL - {"database.password"}


def test_linked_file_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "config.yaml"
    real.write_text(SETTINGS)
    link.symlink_to(real)
    write_missing(link, [link])
    assert link.is_symlink()
    assert "JWT_SECRET_KEY" in real.read_text()


def test_env_file_keeps_other_lines(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("TZ=UTC\nMONGO_INITDB_ROOT_PASSWORD=old\n")
    settings = config(database={"admin_password": "new"})
    write_env(path, settings)
    assert path.read_text() == "TZ=UTC\nMONGO_INITDB_ROOT_USERNAME=mongoadmin\nMONGO_INITDB_ROOT_PASSWORD=new\n"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("server", "admin_password", "admin"),
        ("server", "JWT_SECRET_KEY", "abc0123"),
        ("database", "admin_password", "mongoadminsecret"),
    ],
)
def test_published_secrets_are_refused_beyond_loopback(section: str, key: str, value: str) -> None:
    refuse_published(config(**{section: {key: value}}))
    open_to_all: dict[str, dict[str, str]] = {"server": {"host": "0.0.0.0"}}
    refuse_published(config(**open_to_all))
    changes = {name: dict(values) for name, values in open_to_all.items()}
    changes.setdefault(section, {})[key] = value
    with pytest.raises(ConfigError, match=f"{section}.{key} is '{value}'"):
        refuse_published(config(**changes))
