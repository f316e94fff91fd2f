"""Log records: one line each on stderr, UTC."""

import re
import subprocess
import sys

from kowalski.config import ROOT

SCRIPT = """
import logging
from kowalski.log import get_logger, setup_logging
setup_logging("demo")
get_logger("kowalski.alerts.decode").info("read %d", 5)
get_logger("kowalski.x").debug("unseen")
logging.getLogger("pymongo").info("unseen")
logging.getLogger("elsewhere").warning("seen")
setup_logging("demo")
get_logger("kowalski.x").error("once")
"""


def lines(**environment: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_a_record_is_a_line() -> None:
    seen = lines(TZ="America/Los_Angeles")
    assert [line.split(" ", 1)[1] for line in seen] == [
        "INFO    demo alerts.decode: read 5",
        "WARNING demo elsewhere: seen",
        "ERROR   demo x: once",
    ]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line) for line in seen)


def test_the_level_is_the_environments() -> None:
    assert any("DEBUG   demo x: unseen" in line for line in lines(KOWALSKI_LOG_LEVEL="DEBUG"))
    assert len(lines(KOWALSKI_LOG_LEVEL="ERROR")) == 1
