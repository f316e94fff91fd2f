"""Fixtures for what is deployed."""

import pytest
from manifests import OVERLAYS, Site

from kowalski.config import in_container

#: images have neither kubernetes/ nor the package that validates it
collect_ignore_glob = ["test_kubernetes*.py"] if in_container() else []


@pytest.fixture(params=OVERLAYS)
def site(request: pytest.FixtureRequest) -> Site:
    """Each site in turn."""
    return Site(request.param)
