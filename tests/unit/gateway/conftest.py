"""A gateway in memory for each test."""

import pytest

from tests.gateway_fakes import World


@pytest.fixture
def world() -> World:
    """The native API over fakes."""
    return World()
