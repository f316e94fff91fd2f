"""Certificates of this folder's tests: those of a CA that is trusted, and those of another."""

import pytest
from authority import Authority


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA that settings are to name."""
    return Authority(tmp_path_factory.mktemp("authorities") / "ours")


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another, of which nothing is to be believed."""
    return Authority(tmp_path_factory.mktemp("authorities") / "theirs")
