"""The three tools: which files each finds, where they lie, and what it says of wrong input."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from kowalski.config import build, isolated_tree
from kowalski.downloads import catalog, ztf_alerts, ztf_matchfiles

Tool = Callable[[list[str]], int]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def page(*names: str) -> bytes:
    return "".join(f'<a href="{name}">{name}</a>\n' for name in names).encode()


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# alerts


@pytest.fixture
def nights(shelf: Any) -> Any:
    names = [f"ztf_public_202606{day:02d}.tar.gz" for day in range(28, 31)] + ["ztf_public_20260701.tar.gz"]
    for name in names:
        shelf.files[f"/alerts/public/{name}"] = name.encode() * 100
    shelf.files["/alerts/public/"] = page(*names, "MD5SUMS", "README")
    sums = [f"{md5(name.encode() * 100)}  {name}\n" for name in names[:3]]
    shelf.files["/alerts/public/MD5SUMS"] = "".join(sums).encode()
    return shelf


def test_nights_from_one_to_another(nights: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["20260629", "2026-07-01", "--url", f"{nights.url}/alerts/public", "--out", str(tmp_path)]
    assert ztf_alerts.main([*words, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "missing: " in told
    assert "20260701.tar.gz (no checksum is known)" in told
    assert files_in(tmp_path) == []
    assert ztf_alerts.main(words) == 0
    assert files_in(tmp_path) == [f"ztf_public_{night}.tar.gz" for night in ("20260629", "20260630", "20260701")]
    assert ztf_alerts.main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("present, 2,600 bytes") == 3


def test_a_night_with_another_checksum_fails(nights: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nights.files["/alerts/public/ztf_public_20260628.tar.gz"] = b"cut"
    assert ztf_alerts.main(["20260628", "--url", f"{nights.url}/alerts/public/", "--out", str(tmp_path)]) == 1
    assert "failed: ztf_public_20260628.tar.gz: " in capsys.readouterr().err
    assert files_in(tmp_path) == []


def test_nights_that_are_none(nights: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--url", f"{nights.url}/alerts/public/", "--out", str(tmp_path)]
    assert ztf_alerts.main(["20260630", "20260629", *base]) == 1
    assert ztf_alerts.main(["20200101", *base]) == 1
    assert ztf_alerts.main(["20260630", "--url", f"{nights.url}/nowhere"]) == 1
    said = capsys.readouterr().err
    assert "20260629 is before 20260630" in said
    assert "nothing there fits" in said
    assert "/nowhere/ is not there" in said


# matchfiles


@pytest.fixture
def depot(shelf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    whole = tmp_path / "whole.h5"
    with h5py.File(whole, "w") as file:
        file.create_group("matches").create_dataset("sources", data=list(range(1000)))
    shelf.login = "Basic " + base64.b64encode(b"observer:secret").decode()
    for rc in (0, 1):
        shelf.files[f"/srcmatch/rc{rc:02d}/"] = page("../", "fr000201-000250/", "fr000251-000300/", "other/")
        for folder, fields in (("fr000201-000250", (245, 250)), ("fr000251-000300", (251,))):
            names = [f"ztf_{field:06d}_z{each}_c01_q{rc + 1}_match.pytable" for field in fields for each in "gr"]
            shelf.files[f"/srcmatch/rc{rc:02d}/{folder}/"] = page("../", *names, "ztf_000245_zg_c01_q1_match.log")
            for name in names:
                shelf.files[f"/srcmatch/rc{rc:02d}/{folder}/{name}"] = whole.read_bytes()
    tree = {"ztf_depot": {"username": "observer", "password": "secret"}}
    monkeypatch.setattr(ztf_matchfiles, "load_config", lambda: build(isolated_tree(tree)))
    return shelf


def words_of(depot: Any, out: Path, *more: str) -> list[str]:
    return ["--url", f"{depot.url}/srcmatch/", "--out", str(out), "--rc", "0-1", *more]


def test_matchfiles_of_some_fields_and_filters(depot: Any, tmp_path: Path) -> None:
    out = tmp_path / "matchfiles"
    assert ztf_matchfiles.main(words_of(depot, out, "--fields", "245,251-260", "--filters", "r")) == 0
    assert files_in(out) == [
        f"rc{rc:02d}/{folder}/ztf_{field:06d}_zr_c01_q{rc + 1}_match.pytable"
        for rc in (0, 1)
        for folder, field in (("fr000201-000250", 245), ("fr000251-000300", 251))
    ]
    assert ztf_matchfiles.main(words_of(depot, out)) == 0
    assert len(files_in(out)) == 12


def test_half_a_matchfile_is_found_without_checksums(
    depot: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, path = tmp_path / "matchfiles", "/srcmatch/rc00/fr000251-000300/ztf_000251_zg_c01_q1_match.pytable"
    depot.files[path] = depot.files[path][:3000]
    assert ztf_matchfiles.main(words_of(depot, out)) == 1
    assert "no whole HDF5 file" in capsys.readouterr().err
    assert len(files_in(out)) == 11


def test_checksums_by_a_list(depot: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sums = tmp_path / "sums.txt"
    sums.write_text(f"{md5(b'something else')}  ztf_000251_zg_c01_q1_match.pytable\n")
    words = words_of(depot, tmp_path / "matchfiles", "--fields", "251", "--filters", "g")
    assert ztf_matchfiles.main([*words, "--checksums", str(sums)]) == 1
    assert "its md5 is" in capsys.readouterr().err
    depot.files["/sums"] = sums.read_bytes()
    assert ztf_matchfiles.main([*words, "--checksums", f"{depot.url}/sums"]) == 1
    assert ztf_matchfiles.main([*words, "--checksums", str(tmp_path / "none")]) == 1
    assert "can't be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--rc", "3-1"], "no number or range"), (["--rc", "x"], "no number"), (["--jobs", "0"], "no number of files"), (["--url", "http://example.org/"], "must begin with https://")],
)  # fmt: skip
def test_wrong_options(depot: Any, words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ztf_matchfiles.main(words)
    assert says in capsys.readouterr().err


def test_the_depot_asks_who_it_is(
    depot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    depot.login = "Basic other"
    assert ztf_matchfiles.main(words_of(depot, tmp_path / "m")) == 1
    assert "refuses the credentials" in capsys.readouterr().err
    monkeypatch.setattr(ztf_matchfiles, "load_config", lambda: build(isolated_tree({"ztf_depot": {"username": None}})))
    with pytest.raises(SystemExit):
        ztf_matchfiles.main(words_of(depot, tmp_path / "m"))
    assert "ztf_depot.password are not set" in capsys.readouterr().err


# catalogues


SUM = hashlib.sha256(b"stars").hexdigest()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "url,sha256,name\n{url}/stars.csv,{sum},\n{url}/galaxies.fits,,deep/g.fits\n"),
        (
            "list.yaml",
            "- {{url: '{url}/stars.csv', sha256: {sum}}}\n- {{url: '{url}/galaxies.fits', name: deep/g.fits}}\n",
        ),
    ],
)
def test_lists_of_files(shelf: Any, tmp_path: Path, name: str, text: str) -> None:
    shelf.files |= {"/stars.csv": b"stars", "/galaxies.fits": b"galaxies"}
    (tmp_path / name).write_text(text.format(url=shelf.url, sum=SUM))
    out = tmp_path / "out"
    assert catalog.main(["--list", str(tmp_path / name), "--out", str(out), "--jobs", "2"]) == 0
    assert files_in(out) == ["deep/g.fits", "stars.csv"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{url}/stars.csv#sha256=" + "0" * 64], "not " + "0" * 64),
        (["{url}/stars.csv#sha256=123"], "is no checksum"),
        (["{url}/stars.csv#sha256=" + "0" * 32], "is no sha256: it has 64"),
        (["{url}/stars.csv#crc=1"], "behind # stands"),
        (["file:///etc/passwd"], "is no address of a file"),
        (["{url}/"], "no name of a file"),
        (["{url}/a/stars.csv", "{url}/b/stars.csv"], "name one of them otherwise"),
        (["--list", "{folder}/none.csv"], "can't be read"),
        (["--list", "{folder}/odd.csv"], "row 1: link is not known"),
        (["--list", "{folder}/odd.yaml"], "is no list of"),
        (["--list", "{folder}/broken.yaml"], "can't be read"),
        (["--list", "{folder}/outside.csv"], "no name of a file below --out"),
    ],
)
def test_wrong_input(
    shelf: Any, tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.files["/stars.csv"] = b"stars"
    (tmp_path / "odd.csv").write_text("link\nx\n")
    (tmp_path / "odd.yaml").write_text("url: x\n")
    (tmp_path / "broken.yaml").write_text("- {url: \n")
    (tmp_path / "outside.csv").write_text(f"url,name\n{shelf.url}/stars.csv,../x\n")
    filled = [word.replace("{url}", shelf.url).replace("{folder}", str(tmp_path)) for word in words]
    assert catalog.main([*filled, "--out", str(tmp_path / "out")]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or files_in(tmp_path / "out") == []
