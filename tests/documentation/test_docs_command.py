"""./kowalski.py docs builds what changed and nothing else, loses nothing that isn't its own, and never keeps Kowalski from starting."""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kowalski.config import ROOT
from kowalski.documentation import site as site_module
from kowalski.documentation.site import STAMP, digest, is_current
from kowalski.errors import LocalError
from kowalski.local import docs

Run = Callable[..., int]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that were built; Sphinx itself is another test's."""
    done: list[Path] = []

    def build(site: Path = docs.SITE, progress: Callable[[int], None] = lambda done: None) -> None:
        site.mkdir(parents=True, exist_ok=True)
        (site / "objects.inv").touch()
        (site / STAMP).write_text(digest())
        progress(100)
        done.append(site)

    monkeypatch.setattr(docs, "build_site", build)
    return done


def run(out: Path, force: bool = False) -> int:
    return docs.run(argparse.Namespace(out=out, force=force))


def test_it_builds_once(tmp_path: Path, built: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site"
    assert run(site) == 0
    assert "a running API serves data/docs at /docs" in capsys.readouterr().out
    assert run(site) == 0
    assert capsys.readouterr().out == f"{site} is as it should be\n"
    assert built == [site]
    assert run(site, force=True) == 0
    assert built == [site, site]


def test_a_changed_page_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", pages)
    monkeypatch.setattr(site_module, "DOCS", pages)
    monkeypatch.setattr(site_module, "ROOT", tmp_path)
    site = tmp_path / "site"
    site.mkdir()
    assert not is_current(site)
    (site / STAMP).write_text(site_module.digest())
    assert is_current(site)
    with (pages / "nights.md").open("a") as page:
        page.write("\nOne more sentence.\n")
    assert not is_current(site)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, built: list[Path]) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(LocalError, match="has other things than documentation in it"):
        run(tmp_path)
    assert (tmp_path / "thesis.tex").exists()
    assert built == []


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `up` would have it."""
    site = tmp_path / "data" / "docs"
    monkeypatch.setattr(docs, "is_current", lambda: is_current(site))
    return site


def test_up_builds_what_is_not_there(default: Path, built: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    docs.ensure_built()
    assert built == [docs.SITE]
    default.mkdir(parents=True)
    (default / STAMP).write_text(digest())
    docs.ensure_built()
    assert len(built) == 1


def test_up_goes_on_where_there_are_no_pages_or_they_are_wrong(
    default: Path, built: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**arguments: object) -> None:
        raise LocalError("index.md:3: WARNING: [no] such link")

    monkeypatch.setattr(docs, "build_site", fail)
    docs.ensure_built()
    assert "no documentation at /docs: index.md:3: WARNING: [no] such link" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr(docs, "DOCS", default / "absent")
    docs.ensure_built()
    assert capsys.readouterr().err == ""
