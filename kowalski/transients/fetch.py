"""The files of SALT2 and the bandpasses, fetched for the command ``models``: from where sncosmo has them, or from a folder."""

from collections.abc import Iterator
from pathlib import Path

import requests

from kowalski.downloads.transfer import Progress
from kowalski.errors import KowalskiError, SourceError
from kowalski.http_source import ask, json_of
from kowalski.ml.fetch import Outcome, install
from kowalski.ml.weights import digest
from kowalski.settings import ModelSettings
from kowalski.transients.files import FILES, VERSION, File, folder_of
from kowalski.transients_section import Salt2

#: beside the files, where it says which of them lie elsewhere
REDIRECTS = "redirects.json"


def fetch_files(settings: Salt2, source: Path | None = None, progress: Progress | None = None) -> Iterator[Outcome]:
    """Bring every file to its place, each whole and verified or not at all.

    Parameters
    ----------
    source : folder to copy from, searched recursively, instead of the settings' address
    """
    folder, elsewhere = folder_of(settings.folder), None
    for file in FILES:
        target = folder / file.path
        try:
            if target.exists() and digest(target) == file.sha256:
                yield Outcome("SALT2", file.path, "present", "")
                continue
            if source is None and elsewhere is None:
                elsewhere = _redirects(settings.source)
            install(_described(file, settings.source, elsewhere or {}), target, source, progress)
            yield Outcome("SALT2", file.path, "fetched", "")
        except (KowalskiError, OSError) as error:
            yield Outcome("SALT2", file.path, "failed", str(error))


def _redirects(source: str) -> dict[str, str]:
    """Path -> address of the files that lie elsewhere; none where the server does not say."""
    url = f"{source}/{REDIRECTS}"
    with requests.Session() as session:
        answer = ask(session, "GET", url)
        told = json_of(answer, url) if answer.status_code == 200 else {}
    if not isinstance(told, dict):
        raise SourceError(f"{url} is not what it should be")
    return {str(path): str(address) for path, address in told.items()}


def _described(file: File, source: str, elsewhere: dict[str, str]) -> ModelSettings:
    """A file as networks are described, which are fetched in the same way."""
    path = f"{file.path}.tar.gz" if file.is_folder else file.path
    url = elsewhere.get(path, f"{source}/{path}")
    return ModelSettings(version=VERSION, format="pb" if file.is_folder else "h5", url=url, sha256=file.sha256)
