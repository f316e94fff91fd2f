"""./kowalski.py up: everything running as a service, ready when the command returns."""

import argparse
import sys
import time

from kowalski.config import ROOT, build, settings_tree
from kowalski.local import compose
from kowalski.local.secrets import write_env, write_missing
from kowalski.local.system import LocalSystem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--local", action="store_true", help="as processes here, even where there is a docker-compose.yaml"
    )


def run(arguments: argparse.Namespace) -> int:
    """Start what does not run yet; 0 when all of it is ready."""
    containers = compose.is_meant(arguments.local)
    config_file = ROOT / "config.yaml"
    files = [config_file] if containers else [ROOT / "config.local.yaml", config_file]
    made = write_missing(config_file, files)
    if made:
        print(f"made and wrote into config.yaml: {', '.join(made)}", file=sys.stderr)
    write_env(ROOT / ".env", build(settings_tree(files)))
    return compose.compose("up", "-d") if containers else _start_here()


def _start_here() -> int:
    began = time.monotonic()
    system = LocalSystem.live()
    system.start(progress=lambda line: print(f"  {line}", file=sys.stderr, flush=True))
    server = system.config.server
    print(
        f"Kowalski is up ({time.monotonic() - began:.1f} s): http://{server.host}:{server.port}, user "
        f"{server.admin_username}, password in config.yaml under kowalski.server.admin_password"
    )
    return 0
