"""What is said of settings, right or wrong, tells no secret of them."""

import traceback
from pathlib import Path
from typing import Any

import pytest

from kowalski.config import build, merge, settings_tree
from kowalski.errors import ConfigError
from kowalski.local.secrets import write_missing

HUSH = "the moon is made of"
SECRETS: dict[str, Any] = {
    "server": {"admin_password": HUSH, "JWT_SECRET_KEY": HUSH},
    "database": {"admin_password": HUSH, "password": HUSH, "reader_password": HUSH},
    "skyportal": {"token": HUSH},
    "kafka": {
        "ZTF": {"sasl.password": HUSH, "ssl.key.pem": HUSH},
        "output": {"options": {"sasl.oauthbearer.client.secret": HUSH}},
    },
    "tns": {"api_key": HUSH},
    "ztf": {"mountain_password": HUSH},
}


def test_settings_show_none() -> None:
    config = build(merge(settings_tree([], {}), SECRETS))
    assert config.kafka.surveys["ZTF"]["sasl.password"] == HUSH
    for text in (repr(config), str(config), f"{config.kafka!r}", repr(config.database)):
        assert HUSH not in text
        assert "(not shown)" in text
    assert "None" in repr(config.slack)


@pytest.mark.parametrize(
    "wrong",
    [
        {"server": [{"admin_password": HUSH}]},
        {"database": [f"password: {HUSH}"]},
        {"kafka": {"ZTF": [{"sasl.password": HUSH}]}},
        {"database": {"password": HUSH, "tls_ca_file": "ca.pem"}},
        {"skyportal": {"token": [HUSH]}},
    ],
)
def test_wrong_settings_tell_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is not shown") as caught:
        build(merge(settings_tree([], {}), wrong))
    assert HUSH not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("text", [f'password: "{HUSH}', f"password: {HUSH}: x", f"password: [{HUSH}\n port: 1"])
def test_a_file_that_is_not_yaml_is_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"kowalski:\n  database:\n    {text}\n")
    for read in (lambda: settings_tree([path], {}), lambda: write_missing(path, [])):
        with pytest.raises(ConfigError, match=r"config.yaml is not valid YAML: line \d+, column \d+: ") as caught:
            read()
        assert HUSH not in "".join(traceback.format_exception(caught.value))
