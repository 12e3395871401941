"""What the tests of owners start from."""

from collections.abc import AsyncIterator

import pytest

from tests.owned import OwnedPartition


@pytest.fixture
async def owned() -> AsyncIterator[OwnedPartition]:
    """A partition that has been taken."""
    async with OwnedPartition() as made:
        yield await made.take()
