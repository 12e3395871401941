"""streams.domain.replay: a ledger folds back into its accounts, compared by a digest."""

from streams.domain.budget import Account
from streams.domain.replay import accounts_digest, fold_entries
from streams.domain.state import PartitionState, Progress
from tests.builders import context, cycle, fact, grant, signal, state, usage


def test_a_ledger_folds_back_into_its_accounts() -> None:
    folded = state()
    entries = []
    for offset in range(5):
        given = [
            fact(usage(event_id=f"e{offset}", units=4, cost="0.1"), offset),
            fact(usage("bolt", f"b{offset}"), offset + 10),
            fact(signal(event_id=f"s{offset}"), offset),
            fact(grant(event_id=f"g{offset}", amount="3"), offset),
        ]
        entries += cycle(folded, *given, context=context([("unit", "10")])).entries
    rebuilt = fold_entries(entries)
    assert rebuilt.accounts == folded.accounts
    assert rebuilt.progress == folded.progress
    assert rebuilt.claims == {}
    assert accounts_digest(rebuilt) == accounts_digest(folded)


def test_no_entries_are_a_partition_that_nothing_happened_in() -> None:
    assert fold_entries([]) == state()


def of_accounts(*accounts: Account) -> str:
    return accounts_digest(
        PartitionState(Progress(), accounts={a.customer_id: a for a in accounts})
    )


def test_a_digest_does_not_depend_on_the_order_of_accounts() -> None:
    a, b = Account("a", used_units=1), Account("b", used_units=2)
    assert of_accounts(a, b) == of_accounts(b, a)


def test_a_digest_does_not_depend_on_the_order_of_currencies() -> None:
    one, other = Account("a", used_other={"EUR": 1, "GBP": 2}), Account("a")
    other.used_other["GBP"] = 2
    other.used_other["EUR"] = 1
    assert one == other
    assert of_accounts(one) == of_accounts(other)


def test_a_digest_changes_with_every_amount() -> None:
    digests = {
        of_accounts(Account("a")),
        of_accounts(Account("b")),
        of_accounts(Account("a", used_units=1)),
        of_accounts(Account("a", used_tokens=1)),
        of_accounts(Account("a", used_pico_usd=1)),
        of_accounts(Account("a", used_other={"EUR": 1})),
        of_accounts(Account("a", used_other={"GBP": 1})),
        of_accounts(Account("a", events=1)),
        of_accounts(Account("a", signals=1)),
        of_accounts(),
    }
    assert len(digests) == 10
