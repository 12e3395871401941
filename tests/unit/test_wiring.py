"""What the roles of one machine are started with."""

from pathlib import Path

import pytest

from streams.embedded.wiring import ROLES, role_spec
from streams.settings import Settings


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("127.0.0.1:9464", ["127.0.0.1:9464", "127.0.0.1:9465"]),
        ("[::1]:9464", ["[::1]:9464", "[::1]:9465"]),
        ("127.0.0.1:0", ["127.0.0.1:0", "127.0.0.1:0"]),
        (None, [None, None]),
    ],
)
def test_roles_of_one_machine_show_their_metrics_on_addresses_of_their_own(
    given: str | None, found: list[str | None], tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, metrics_listen=given)
    specs = [role_spec(role, settings) for role in ROLES]
    assert [(spec.env or {}).get("TOLLGATE_METRICS_LISTEN") for spec in specs] == found
