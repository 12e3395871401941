"""From looks to a report: sums, rates, owners, and what needs attention."""

from dataclasses import replace

from schemas.topics import ASKS, LEDGER, USAGE
from streams.status.making import make_report
from streams.status.seen import Group, LogSeen, TableMark, Tail
from streams.status.warning import Since
from tests.looks import (
    ADDRESSES,
    NOW_US,
    PARTITIONS,
    SECOND_US,
    WORKERS,
    codes,
    log,
    look,
    member,
    owner,
    tables,
)

VICTIM = (3, 4, 5)


def killed(seconds: float, workers: Group | None = None) -> LogSeen:
    """The log so long after the second worker was killed: its partitions get records and no entry.

    The broker still counts it among the group."""
    seen = log(seconds)
    stopped = {(USAGE.name, number): 100 for number in VICTIM}
    tails = {(LEDGER.name, number): Tail(1, 99, NOW_US) for number in VICTIM}
    return replace(
        seen,
        committed={**seen.committed, **stopped},
        tails={**seen.tails, **tails},
        workers=workers or seen.workers,
    )


def test_an_installation_that_is_well_says_nothing() -> None:
    report = make_report(look(), look(log(2)), Since())
    assert (report.verdict, report.warnings) == ("well", [])
    assert [worker.address for worker in report.workers] == list(ADDRESSES)
    assert [worker.partitions for worker in report.workers] == [list(some) for some in WORKERS]
    assert {one.state for one in report.partitions} == {"owned"}


def test_rates_are_growth_between_two_looks() -> None:
    report = make_report(look(), look(log(2)), Since())
    [usage] = [topic for topic in report.topics if topic.topic == USAGE.name]
    assert (usage.ends, usage.lag) == (PARTITIONS * 120, 0)
    assert (usage.in_per_second, usage.taken_per_second) == (PARTITIONS * 10.0, PARTITIONS * 10.0)
    assert report.decisions.per_second == 10.0
    assert report.decisions.refused_per_second == {"budget_exhausted": 1.0}


def test_a_first_look_has_no_rates_and_says_so() -> None:
    report = make_report(None, look(), Since())
    assert report.decisions.per_second is None
    assert {topic.in_per_second for topic in report.topics} == {None}
    assert report.verdict == "well"


def test_an_owner_that_does_not_answer_is_told_with_its_partitions_and_since_when() -> None:
    silent = {address: address != ADDRESSES[1] for address in ADDRESSES}
    report = make_report(look(), look(killed(4), answers=silent), Since())
    [warning] = report.warnings
    assert (warning.code, warning.partitions) == ("owner_silent", list(VICTIM))
    assert warning.message == (
        "partitions 3, 4, 5 have an owner that does not answer since 4 s; 120 records wait there"
    )
    assert [one.state for one in report.partitions].count("silent") == len(VICTIM)
    assert report.verdict == "attention"


def test_partitions_that_nobody_was_given_have_no_owner() -> None:
    left = Group("Stable", tuple(member(n, some) for n, some in enumerate(WORKERS) if n != 1))
    report = make_report(look(), look(killed(8, workers=left)), Since())
    [warning] = report.warnings
    assert warning.code == "no_owner"
    assert "partitions 3, 4, 5 have no owner since 8 s" in warning.message
    gone = [worker for worker in report.workers if worker.member is None]
    assert [(worker.address, worker.leases) for worker in gone] == [(ADDRESSES[1], list(VICTIM))]


def test_partitions_that_were_given_and_have_an_old_lease_are_being_taken() -> None:
    heirs = Group("Stable", (member(0, (0, 1, 2, 3, 4)), member(2, (5, 6, 7))))
    report = make_report(look(), look(killed(9, workers=heirs)), Since())
    assert codes(report) == ["being_taken"]
    assert report.warnings[0].partitions == list(VICTIM)


def test_partitions_taken_over_are_owned_again() -> None:
    heirs = Group("Stable", (member(0, (0, 1, 2, 3, 4)), member(2, (5, 6, 7))))
    owners = {p: owner(p, ADDRESSES[0] if p < 5 else ADDRESSES[2], lease=9) for p in range(8)}
    report = make_report(look(), look(log(10, workers=heirs, owners=owners)), Since())
    assert report.verdict == "well"
    assert [worker.partitions for worker in report.workers] == [[0, 1, 2, 3, 4], [5, 6, 7]]


def test_a_warning_that_stays_says_since_when_it_was_first_seen() -> None:
    since = Since()
    left = Group("Stable", tuple(member(n, some) for n, some in enumerate(WORKERS) if n != 1))
    make_report(None, look(log(2, workers=left)), since)
    report = make_report(look(), look(log(12, workers=left)), since)
    assert "since 10 s" in report.warnings[0].message, "idle: nothing tells of an earlier time"


def test_records_that_wait_without_a_new_entry_stand_still_after_a_while() -> None:
    before = look(killed(1))
    assert codes(make_report(before, look(killed(3)), Since())) == []
    assert codes(make_report(before, look(killed(7)), Since())) == ["stands_still"]


def test_without_kafka_nothing_can_be_told_and_the_report_says_why() -> None:
    nothing = replace(look(), log=None, log_fault="no broker answers", installation=None)
    report = make_report(None, nothing, Since())
    assert report.verdict == "unreachable"
    assert codes(report) == ["kafka_unreachable"]
    assert "no broker answers" in report.warnings[0].message


def test_without_clickhouse_decisions_are_told_all_the_same() -> None:
    now = look(log(2), tables=None, tables_fault="connection refused")
    report = make_report(look(), now, Since())
    assert codes(report) == ["clickhouse_unreachable"]
    assert report.decisions.per_second == 10.0
    assert (report.sink.rows_behind, report.partitions[0].rows) == (None, None)


def test_a_sink_that_is_behind_is_told_in_entries_and_seconds() -> None:
    seen = log(60)
    behind = look(seen, tables=tables(120))
    report = make_report(look(), behind, Since())
    assert report.sink.rows_behind == PARTITIONS * (700 - 120)
    assert codes(report) == ["sink_behind"]
    assert "60 s behind" in report.warnings[0].message
    none = make_report(
        look(), look(replace(seen, sinks=Group("Empty")), tables=tables(120)), Since()
    )
    assert codes(none) == ["no_sink"]


def test_rows_that_are_missing_or_doubled_are_told() -> None:
    wrong = tables()
    marks = {**wrong.marks, ("ledger", 1, 4): TableMark(99, 101, NOW_US)}
    report = make_report(None, look(tables=replace(wrong, marks=marks)), Since())
    assert codes(report) == ["rows_wrong"]
    assert report.warnings[0].partitions == [4]


def test_what_kafka_does_not_tell_is_named() -> None:
    seen = log(faults={"group of the workers": "no answer in time"}, workers=None)
    assert codes(make_report(None, look(seen), Since())) == ["kafka_part_unknown"]


def test_brokers_that_are_away_show_in_copies_and_leaders() -> None:
    report = make_report(None, look(log(missing_replicas=4, leaderless=1)), Since())
    assert codes(report) == ["no_leader", "missing_replicas"]


def test_topics_of_another_generation_are_told() -> None:
    here = look().installation
    assert here is not None
    changed = replace(here, differences=("usage: deleted and made anew",))
    assert codes(make_report(None, look(installation=changed), Since())) == ["topics_changed"]
    bare = look(installation=None, installation_fault="there are no topics")
    assert codes(make_report(None, bare, Since())) == ["not_installed"]


def test_asks_without_a_gateway_and_work_for_more_than_a_minute_are_told() -> None:
    seen = log(2)
    ends = {**seen.ends, **{(USAGE.name, number): 5_000 for number in range(PARTITIONS)}}
    slow = replace(seen, ends=ends)
    assert codes(make_report(look(), look(slow), Since())) == ["backlog"]
    asks = {**seen.ends, (ASKS.name, 0): 60}
    alone = replace(seen, ends=asks, gateways=Group("Empty"))
    assert codes(make_report(look(), look(alone), Since())) == ["no_gateway"]


def test_without_any_worker_one_warning_says_it() -> None:
    report = make_report(None, look(log(workers=Group("Empty"))), Since())
    assert codes(report) == ["no_worker"]
    assert report.warnings[0].partitions == list(range(PARTITIONS))
    assert NOW_US % SECOND_US == 0
