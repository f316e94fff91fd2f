"""./kowalski.py seed: archives of mongodump restored, e.g. a catalogue or the collections of another Kowalski."""

import argparse
import bz2
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kowalski.config import ROOT, build, default_files, settings_tree
from kowalski.errors import LocalError
from kowalski.local import compose
from kowalski.settings import Database, required

#: names of archives: plain, compressed by mongodump itself, or by bzip2
SUFFIXES = (".dump", ".dump.gz", ".dump.bz2")
#: what runs in mongo's container, where the password is in the environment: it shall not stand in a list of processes
IN_CONTAINER = (
    r"""exec mongorestore --config=<(printf "password: '%s'\n" "${MONGO_INITDB_ROOT_PASSWORD//\'/\'\'}") "$@" """
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--source", default=".", help="folder of archives, or gs://BUCKET/FOLDER (default: here)")
    parser.add_argument("--drop", action="store_true", help="drop each collection before it is restored")
    parser.add_argument("--local", action="store_true", help="by the mongorestore of this machine, not in a container")


def run(arguments: argparse.Namespace) -> int:
    """Restore every archive of a folder, one after the other; 0 when all of them are restored."""
    restore = _restorer(arguments)
    failed = 0
    with _folder(arguments.source) as folder, restore as command:
        archives = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES))
        if not archives:
            raise LocalError(f"no archives in {arguments.source}: their names end in {', '.join(SUFFIXES)}")
        for number, archive in enumerate(archives, 1):
            print(f"{number} of {len(archives)}: {archive.name}, {archive.stat().st_size / 1e6:.1f} MB", flush=True)
            failed += 0 if _restore(command, archive) else 1
    print(f"{len(archives) - failed} restored" + (f", {failed} failed: see above" if failed else ""))
    return 1 if failed else 0


@contextmanager
def _restorer(arguments: argparse.Namespace) -> Iterator[list[str]]:
    """The command line of mongorestore, which reads an archive from its input."""
    settings = build(settings_tree(default_files())).database
    options = [f"--username={settings.admin_username}", "--authenticationDatabase=admin", "--archive"]
    options += ["--drop"] if arguments.drop else []
    if compose.is_meant(arguments.local):
        yield [*compose.command("exec", "-T", "mongo"), "bash", "-c", IN_CONTAINER, "mongorestore", *options]
        return
    if shutil.which("mongorestore") is None:
        raise LocalError("mongorestore is not installed: it is one of MongoDB's Database Tools")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as secret:  # mode 0600
        json.dump({"password": required(settings.admin_password, "database.admin_password")}, secret)
        secret.flush()
        yield ["mongorestore", f"--config={secret.name}", f"--uri={_uri(settings)}", *_certificates(settings), *options]


def _uri(settings: Database) -> str:
    if settings.srv:
        return f"mongodb+srv://{settings.host}/"
    host = settings.host if ":" in settings.host else f"{settings.host}:{settings.port}"
    chosen = [f"replicaSet={settings.replica_set}"] if settings.replica_set else []
    return f"mongodb://{host}/?{'&'.join([*chosen, f'tls={str(settings.tls).lower()}'])}"


def _certificates(settings: Database) -> list[str]:
    """Options that name the files of certificates."""
    files = {"--sslCAFile": settings.tls_ca_file, "--sslPEMKeyFile": settings.tls_certificate_key_file}
    return [f"{option}={ROOT / file}" for option, file in files.items() if file]


@contextmanager
def _folder(source: str) -> Iterator[Path]:
    """The folder of archives; one of Google's Cloud Storage is copied here for as long as it takes."""
    if not source.startswith("gs://"):
        if not Path(source).is_dir():
            raise LocalError(f"{source} is not a folder")
        yield Path(source)
        return
    if shutil.which("gsutil") is None:
        raise LocalError("gsutil is not installed: it copies archives from gs://")
    with tempfile.TemporaryDirectory(prefix="kowalski-seed-", dir=".") as folder:
        if subprocess.call(["gsutil", "-m", "cp", f"{source.rstrip('/')}/*.dump*", folder]):
            raise LocalError(f"gsutil can't copy {source}")
        yield Path(folder)


def _restore(command: list[str], archive: Path) -> bool:
    """Whether mongorestore took an archive, uncompressed on the way where need be."""
    options = ["--gzip"] if archive.suffix == ".gz" else []
    with bz2.open(archive) if archive.suffix == ".bz2" else archive.open("rb") as content:
        process = subprocess.Popen([*command, *options], stdin=subprocess.PIPE)
        assert process.stdin
        try:
            shutil.copyfileobj(content, process.stdin, 1 << 20)
            process.stdin.close()
        except BrokenPipeError:  # it has ended, and says why
            pass
        except (EOFError, OSError) as error:
            process.kill()
            print(f"{archive.name} is not whole: {error}", flush=True)
    return process.wait() == 0
