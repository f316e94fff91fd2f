"""The script kowalski.py, which has the package's name, as a module."""

import importlib.util
from functools import cache
from types import ModuleType

from kowalski.config import ROOT


@cache
def command_line() -> ModuleType:
    """The module; its commands stand in ``COMMANDS``."""
    spec = importlib.util.spec_from_file_location("kowalski_command_line", ROOT / "kowalski.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
