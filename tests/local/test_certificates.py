"""Certificates: made by one command, private, never overwritten unasked, and refused in words where they don't fit."""

import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from kowalski.config import ROOT, build, isolated_tree, merge, settings_tree
from kowalski.dask_access import security_of
from kowalski.errors import ConfigError, LocalError
from kowalski.local.certificates import make, settings_text

FILES = {"ca": "ca.crt", "cert": "dask.crt", "key": "dask.key"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates that no test changes."""
    folder = tmp_path_factory.mktemp("certificates") / "made"
    assert make(folder, 30)
    return folder


def settings(tls: dict[str, Any], **changes: Any) -> Any:
    """The settings of ZTF's dask cluster with these files."""
    return build(isolated_tree({"dask": {"tls": tls, **changes}})).dask_for("ZTF")


def files_in(folder: Path) -> dict[str, str]:
    return {name: str(folder / file) for name, file in FILES.items()}


def refusal(tls: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        security_of("ZTF", settings(tls, **changes))
    assert "\n" not in str(caught.value)
    assert "./kowalski.py certificates" in str(caught.value)
    return str(caught.value)


def test_keys_are_private(folder: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"ca.key": 0o600, "dask.key": 0o600, "ca.crt": 0o644, "dask.crt": 0o644}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_is_overwritten_unasked(folder: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(LocalError, match="--renew"):
        make(folder, 30)
    (tmp_path / "dask.key").write_text("mine")
    with pytest.raises(LocalError, match=r"dask\.key"):
        make(tmp_path, 30)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_renewed_pair_fits_what_other_machines_have(folder: Path, tmp_path: Path) -> None:
    """The CA stays, so that machines with the new pair and machines with the old one still know each other."""
    renewed = Path(shutil.copytree(folder, tmp_path / "renewed"))
    assert make(renewed, 30, renew=True) is False
    assert (renewed / "ca.crt").read_bytes() == (folder / "ca.crt").read_bytes()
    assert (renewed / "dask.key").read_bytes() != (folder / "dask.key").read_bytes()
    assert security_of("ZTF", settings(files_in(renewed) | {"ca": str(folder / "ca.crt")})) is not None


def test_a_ca_that_ends_too_soon_is_renewed_too(folder: Path, tmp_path: Path) -> None:
    renewed = Path(shutil.copytree(folder, tmp_path / "renewed"))
    assert make(renewed, 5000, renew=True) is True
    ca, cert = (x509.load_pem_x509_certificate((renewed / name).read_bytes()) for name in ("ca.crt", "dask.crt"))
    assert ca.not_valid_after_utc >= cert.not_valid_after_utc > datetime.now(UTC) + timedelta(days=4999)
    assert security_of("ZTF", settings(files_in(renewed))) is not None


def test_the_command_says_which_settings_to_write(tmp_path: Path) -> None:
    command = [sys.executable, "kowalski.py", "certificates", "--out", str(tmp_path / "made"), "--days", "9"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    written = yaml.safe_load(said[said.index("kowalski:") :])["kowalski"]
    config = build(merge(settings_tree([], {}), written))
    for survey in ("ZTF", "PGIR", "WNTR", "TURBO"):
        cluster = config.dask_for(survey)
        assert cluster.address == f"tls://10.0.0.1:{cluster.scheduler_port}"
        assert security_of(survey, cluster) is not None
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, again.stdout) == (1, "")
    assert "--renew" in again.stderr


def test_relative_paths_are_under_the_root() -> None:
    assert "ca: data/certificates/ca.crt" in settings_text(Path("data/certificates"))
    assert str(ROOT / "nowhere" / "ca.crt") in refusal(files_in(Path("nowhere")))


@pytest.mark.parametrize(
    "changes", [{"host": "10.0.0.1"}, {"listen": "0.0.0.0"}, {"host": "scheduler", "listen": "::"}]
)
def test_beyond_loopback_there_is_no_scheduler_without_tls(changes: dict[str, str]) -> None:
    text = refusal({"ca": None, "cert": None, "key": None}, **changes)
    assert text.startswith("dask.host ")
    assert all(value in text for value in changes.values())


def test_on_loopback_tls_is_a_choice(folder: Path) -> None:
    assert security_of("ZTF", settings({"ca": None})) is None
    security = security_of("ZTF", settings(files_in(folder)))
    assert security is not None
    assert security.require_encryption


def test_files_that_do_not_fit_are_named(folder: Path, tmp_path: Path) -> None:
    make(tmp_path / "other", 30)
    other, ours = files_in(tmp_path / "other"), files_in(folder)
    assert "dask.tls.key is null" in refusal({"ca": ours["ca"], "cert": ours["cert"]})
    assert ours["cert"] in refusal({**ours, "ca": other["ca"]})
    assert ours["cert"] in refusal({**ours, "key": other["key"]})
    assert "is not a certificate" in refusal({**ours, "cert": ours["key"]})


def test_an_ended_certificate_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2100, 1, 1, tzinfo=tz)

    monkeypatch.setattr("kowalski.dask_access.datetime", Later)
    text = refusal(files_in(folder))
    assert "dask.crt ended " in text
    assert "--renew" in text
