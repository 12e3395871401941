"""How `tollgate grants list` prints what was given."""

import pytest

from streams.cli.grants import print_grants
from streams.invoicing.balance import BudgetReport, GrantBalance, Used
from tests.builders import DAY_US, NOON_US


def report(*grants: GrantBalance) -> BudgetReport:
    return BudgetReport(
        "acme", grants, (), limits=(), holds=(), used=Used(0, 0, 0, 0, {}), as_of=(), now_us=NOON_US
    )


def grant(grant_id: str, denomination: str, granted: int, burnt: int, **more: int) -> GrantBalance:
    return GrantBalance(
        grant_id,
        denomination,
        priority=100,
        reason="a [bold]gift[/bold]",
        effective_at_us=NOON_US - DAY_US,
        expires_at_us=more.get("expires_at_us"),
        granted=granted,
        burnt=burnt,
    )


def test_amounts_are_exact_and_texts_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_grants(
        report(
            grant("g1", "usd", 12_500_000_000_001, 1),
            grant("g2", "unit", 1_000_000, 1, expires_at_us=NOON_US),
        )
    )
    first, second = (
        line
        for line in capsys.readouterr().out.splitlines()
        if line[:1] == "g" and line[1:2] in "12"
    )
    assert first.split()[:6] == ["g1", "usd", "12.500000000001", "12.500000000000", "100", "open"]
    assert second.split()[:6] == ["g2", "unit", "1,000,000", "999,999", "100", "expired"]
    assert first.rstrip().endswith("a [bold]gift[/bold]")


def test_without_any_grant_it_says_what_that_means(capsys: pytest.CaptureFixture[str]) -> None:
    print_grants(report())
    assert "never refused" in capsys.readouterr().out
