"""Property tests print the seed that repeats them."""

import pytest

from tests.property.seed import announce


@pytest.fixture(autouse=True)
def _seed_is_printed() -> None:
    announce()
