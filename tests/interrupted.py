"""A step of a program at which it loses its database, before or after the step took effect."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kowalski.errors import DatabaseUnavailable


@contextmanager
def interrupted(target: Any, step: str, after: bool) -> Iterator[None]:
    """What is done inside fails at a method of the target, which has (``after``) or has not done its work."""
    original = getattr(target, step)

    def cut_off(*arguments: Any) -> Any:
        if after:
            original(*arguments)
        raise DatabaseUnavailable("gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, step, cut_off)
        with pytest.raises(DatabaseUnavailable):
            yield
