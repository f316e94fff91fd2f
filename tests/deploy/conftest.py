"""Fixtures for what is deployed."""

import pytest
from manifests import OVERLAYS, Site


@pytest.fixture(params=OVERLAYS)
def site(request: pytest.FixtureRequest) -> Site:
    """Each site in turn."""
    return Site(request.param)
