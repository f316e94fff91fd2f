"""Logging: one line per record on stderr, where the supervisor collects it."""

import logging
import os
import sys
import time


def setup_logging(program: str, level: str | None = None) -> None:
    """Send every record of this process to stderr as ``time level program logger: message`` (UTC)."""
    handler = logging.StreamHandler(sys.stderr)
    line = f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {program} %(name)s: %(message)s"
    formatter = logging.Formatter(line, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level or os.environ.get("KOWALSKI_LOG_LEVEL", "INFO"))
    for noisy in ("asyncio", "distributed", "urllib3", "pymongo", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def get_logger(name: str) -> logging.Logger:
    """The logger of a module, named without the package's prefix."""
    return logging.getLogger(name.removeprefix("kowalski."))
