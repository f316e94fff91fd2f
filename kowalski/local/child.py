"""python -m kowalski.local.child PARENT COMMAND...: run a command that is told to stop (SIGTERM) when its parent dies.

PARENT is the parent's pid, or a file that holds it. Without this a supervisor that is killed by kill -9 would leave its
programs behind. Linux only; the request survives exec, but is not inherited by the command's own children.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
#: files that mongod wants to have open
OPEN_FILES = 64000


def die_with(parent: int) -> None:
    """From now on this process gets SIGTERM when its parent dies; it ends at once if that has happened already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before the request was made
        sys.exit(f"{sys.argv[0]}: parent {parent} is gone")


def raise_open_files() -> None:
    """Files that may be open: as many as the system lets us, up to `OPEN_FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    """Become the command."""
    parent, *command = sys.argv[1:]
    die_with(int(parent if parent.isdigit() else Path(parent).read_text()))
    raise_open_files()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
