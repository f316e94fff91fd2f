"""The command ``models``: the weights that the settings name, fetched or copied into ``models/`` and verified.

Where light curves are fitted (``transients.enabled``) so are the files of SALT2 and the bandpasses.

From a folder it also copies the schemas that messages name by number, where they lie in one called ``<survey>_schemas``.
"""

import argparse
import os
import shutil
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urlparse

from kowalski.config import ROOT, load_config
from kowalski.downloads.transfer import Progress, download
from kowalski.errors import ModelError, SourceError
from kowalski.ml.weights import digest, weights_path
from kowalski.settings import ML, Config, ModelSettings

MAX_UNPACKED = 4 << 30


class Outcome(NamedTuple):
    """What became of one network's weights: ``fetched``, ``present`` or ``failed``, and details in words."""

    survey: str
    name: str
    state: str
    detail: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--from", dest="source", metavar="DIR", type=Path, help="copy from this folder, searched recursively"
    )


def run(args: argparse.Namespace) -> int:
    """Fetch what is missing and print, per survey, what was fetched, present and failed; 1 if anything failed."""
    if args.source and not args.source.is_dir():
        print(f"models: {args.source} is not a folder")
        return 1
    config = load_config()
    ml = config.ml
    outcomes = []
    progress = _progress if sys.stdout.isatty() else None
    fetched = chain(fetch_models(ml, args.source, progress), _light_curve_files(config, args.source, progress))
    for outcome in fetched:
        outcomes.append(outcome)
        print(f"  {outcome.survey} {outcome.name}: {outcome.state}{outcome.detail and ': ' + outcome.detail}")
    for survey in dict.fromkeys([*ml.surveys, *(outcome.survey for outcome in outcomes)]):
        states = [outcome.state for outcome in outcomes if outcome.survey == survey]
        print(f"{survey} models: " + ", ".join(f"{states.count(s)} {s}" for s in ("fetched", "present", "failed")))
    for survey in config.schemas if args.source else ():
        print(f"{survey} schemas: {copy_schemas(survey, ROOT / config.schemas[survey].folder, args.source)} copied")
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


def _light_curve_files(config: Config, source: Path | None, progress: Progress | None) -> Iterator[Outcome]:
    """What fits of light curves need, where they are made."""
    if config.transients.enabled:
        from kowalski.transients.fetch import fetch_files  # which brings its files to their places as it is done here

        yield from fetch_files(config.transients.salt2, source, progress)


def copy_schemas(survey: str, target: Path, source: Path) -> int:
    """Copy the ``.avsc`` files of the folders ``<survey>_schemas`` below ``source`` to where schemas are resolved; how many."""
    copied = 0
    for folder in sorted(source.rglob(f"{survey.lower()}_schemas")):
        for file in sorted(folder.rglob("*.avsc")):
            place = target / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
            copied += 1
    return copied


def fetch_models(ml: ML, source: Path | None = None, progress: Progress | None = None) -> Iterator[Outcome]:
    """Bring every configured network's weights to their place, each whole and verified or not at all.

    Parameters
    ----------
    source : folder to copy from, searched recursively, instead of the networks' urls
    """
    for survey, section in ml.surveys.items():
        for name, settings in section.models.items():
            target = weights_path(ml, survey, name, settings)
            try:
                if target.exists() and settings.sha256 in (None, digest(target)):
                    yield Outcome(survey, name, "present", "")
                    continue
                install(settings, target, source, progress)
                detail = "" if settings.sha256 else f"unverified: the settings name no sha256; it is {digest(target)}"
                yield Outcome(survey, name, "fetched", detail)
            except (ModelError, OSError) as error:
                yield Outcome(survey, name, "failed", str(error))


def install(settings: ModelSettings, target: Path, source: Path | None, progress: Progress | None) -> None:
    """Put weights into a folder beside ``target``, verify them there and move them over.

    Raises
    ------
    ModelError : they can't be had, or are not what they should be
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
        found = _find(settings, target, source) if source else _obtain(settings, Path(folder, "download"), progress)
        staged = Path(folder, target.name)
        if settings.format == "h5":
            shutil.copyfile(found, staged)
        elif found.is_dir():
            shutil.copytree(found, staged)
        else:
            try:
                _unpack(found, staged)
            except (tarfile.TarError, EOFError, zlib.error) as error:
                raise ModelError(f"{found.name} is no whole tar archive: {error}") from error
        sha256 = digest(staged)
        if settings.sha256 not in (None, sha256):
            raise ModelError(f"what was fetched has sha256 {sha256}, the settings name {settings.sha256}")
        if target.is_dir():
            target.rename(Path(folder, "replaced"))
        staged.rename(target)


def _obtain(settings: ModelSettings, partial: Path, progress: Progress | None) -> Path:
    """The file at a network's url, which may be a path under the repository, or downloaded to ``partial``."""
    if not settings.url:
        raise ModelError("the settings name no url: copy the weights with --from DIR")
    if "://" not in settings.url:
        return ROOT / settings.url
    try:
        download(settings.url, partial, progress)
    except SourceError as error:
        raise ModelError(str(error)) from error
    return partial


def _find(settings: ModelSettings, target: Path, source: Path) -> Path:
    """The weights under a folder, by their name here or at their url; of several, those with the right sha256."""
    names = {target.name, f"{target.name}.tar.gz"}
    if settings.url:
        names.add(PurePosixPath(urlparse(settings.url).path).name)
    found = [
        Path(folder, name)
        for folder, folders, files in os.walk(source)
        for name in sorted(names.intersection(files) | names.intersection(folders))
    ]
    if not found:
        raise ModelError(f"no {' or '.join(sorted(names))} under {source}")
    return next((path for path in found if digest(path) == settings.sha256), found[0])


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the regular files of a tar archive into a new folder, without their first path component.

    Raises
    ------
    ModelError : a path leads outside the folder, or the files are larger than `MAX_UNPACKED` together
    """
    folder.mkdir()
    total = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts[1:]
            if not member.isfile() or not parts:
                continue
            total += member.size
            if ".." in parts or member.name.startswith("/") or total > MAX_UNPACKED:
                raise ModelError(f"{archive.name}: {member.name} is outside its folder, or too large")
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            if content:
                with path.open("wb") as file:
                    shutil.copyfileobj(content, file)


def _progress(have: int, total: int) -> None:
    end = "\n" if have == total else ""
    print(f"\r    {have / 1e6:.1f} of {total / 1e6:.1f} MB", end=end, flush=True)
