"""The pure parts of `make bench-peers`: what is right, what a figure is, when a peer is built."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import peer_build
from bench.contenders import CONTENDERS, USUAL, Tollgate
from bench.figures import OURS, RIVAL, Run, ratio_lines, ratios, report, table
from bench.measure import Course
from bench.outputs import Entry, Outputs, half_at_ms
from bench.peers import main
from bench.rounds import turns
from streams.bench.check import check
from streams.bench.events import Expected
from streams.errors import FaultError, SetupError

EXPECTED = Expected(
    records=4,
    distinct=3,
    events={"ann": 2, "bob": 1},
    tokens={"ann": 30, "bob": 5},
    cost_pico={"ann": 7, "bob": 0},
    rated_pico={"ann": 7, "bob": 9},
)


def entry(event_id: str, tokens: int, cost: int, sums: tuple[int, int], **more: str) -> Entry:
    made: Entry = {
        "customer_id": more.get("customer", "ann"),
        "source": more.get("source", "crm"),
        "event_id": event_id,
        "tokens": tokens,
        "cost_pico": cost,
        "sum_tokens": sums[0],
        "sum_cost_pico": sums[1],
    }
    return made


FIRST = entry("1", 10, 3, (10, 3))
SECOND = entry("2", 20, 4, (30, 7))
BOB = entry("1", 5, 0, (5, 0), customer="bob")


def verdict(entries: Iterable[Entry]) -> str:
    """What is wrong with these entries; empty where nothing is."""
    outputs = Outputs()
    for number, each in enumerate(entries):
        outputs.take(each, number)
    try:
        check(EXPECTED, outputs.found("a peer", EXPECTED))
    except FaultError as fault:
        return fault.message
    return ""


# --- what a peer wrote -------------------------------------------------------------------------


def test_every_event_once_with_the_right_sums_is_right() -> None:
    assert verdict([FIRST, SECOND, BOB]) == ""


def test_the_same_id_of_another_customer_is_another_event() -> None:
    assert FIRST["event_id"] == BOB["event_id"]
    assert "distinct" not in verdict([FIRST, SECOND, BOB])


def test_a_lost_event_is_wrong() -> None:
    assert "2 distinct events instead of 3" in verdict([FIRST, BOB])


def test_an_event_that_is_written_twice_is_wrong() -> None:
    assert "1 entries repeat an event" in verdict([FIRST, FIRST, SECOND, BOB])


def test_an_entry_with_a_wrong_amount_is_wrong() -> None:
    wrong = verdict([FIRST, {**SECOND, "cost_pico": 5}, BOB])
    assert "cost_pico of ann: 8 instead of 7" in wrong


def test_a_peer_whose_own_sums_are_wrong_is_wrong_although_its_entries_add_up() -> None:
    wrong = verdict([FIRST, {**SECOND, "sum_tokens": 20}, BOB])
    assert "the last entry of ann says 20 tokens" in wrong


def test_half_of_the_entries_are_there_at_the_lower_of_the_two_in_the_middle() -> None:
    assert half_at_ms([10, 40, 20, 30]) == 20


# --- what a figure is --------------------------------------------------------------------------


def run(contender: str, number: int, cpu_seconds: float) -> Run:
    return Run(
        contender=contender,
        round=number,
        events=100_000,
        seconds=4.0,
        cpu_seconds=cpu_seconds,
        half_seconds=1.0,
        half_cpu_seconds=0.5,
        rss_mb=300.0,
        broker_cpu_seconds=1.0,
        anchor_before=900_000.0,
        anchor_after=1_100_000.0,
    )


ROUNDS = [
    *(run(OURS, 1, 1.0), run(RIVAL, 1, 2.0)),
    *(run(OURS, 2, 4.0), run(RIVAL, 2, 4.0)),
    *(run(OURS, 3, 1.0), run(RIVAL, 3, 1.6)),
]


def test_rates_are_input_records_over_wall_time_and_over_processor_time() -> None:
    one = run(OURS, 1, 2.0)
    assert (one.rate, one.rate_per_cpu) == (25_000, 50_000)
    assert (one.later_rate, one.later_rate_per_cpu) == (50_000, 100_000)


def test_a_slower_core_does_not_change_the_multiple_of_the_anchor() -> None:
    fast = run(OURS, 1, 1.0)
    slow = replace(fast, cpu_seconds=2.0, anchor_before=450_000.0, anchor_after=550_000.0)
    assert fast.anchors == slow.anchors == 10


def test_ratios_are_taken_within_a_round_and_only_then_the_median() -> None:
    found = ratios(ROUNDS, OURS, RIVAL, lambda one: one.rate_per_cpu)
    assert found == {1: 2.0, 2: 1.0, 3: 1.6}
    # The ratio of the medians would be 2.0.
    assert "median 1.60 (target ≥ 1.50: met)" in ratio_lines(ROUNDS)[0]


def test_a_round_without_one_of_the_two_has_no_ratio() -> None:
    found = ratios(ROUNDS[:3], OURS, RIVAL, lambda one: one.rate_per_cpu)
    assert found == {1: 2.0}


def test_the_target_stands_on_the_median_of_the_rounds_and_nowhere_else() -> None:
    made = report(ROUNDS, {})
    judged = [result for result in made.results if result.target is not None]
    assert [(result.name, result.value) for result in judged] == [
        (f"{OURS} / {RIVAL}, events per CPU second, median", 1.6)
    ]
    assert made.exit_code == 0


def test_a_missed_target_is_an_exit_code() -> None:
    assert report(ROUNDS[2:4], {}).exit_code == 1
    assert "MISSED" in ratio_lines(ROUNDS[2:4])[0]


def test_every_round_is_in_the_report() -> None:
    names = [result.name for result in report(ROUNDS, {}).results]
    for number in (1, 2, 3):
        assert f"{OURS} / {RIVAL}, events per CPU second, round {number}" in names


def test_the_table_shows_median_and_spread() -> None:
    row = next(line for line in table(ROUNDS).splitlines() if "per CPU second" in line)
    assert "100,000 (25,000 to 100,000)" in row
    assert "50,000 (25,000 to 62,500)" in row


def test_processor_time_is_read_off_between_two_looks() -> None:
    course = Course(begun_at=10.0, ended_at=14.0)
    for moment, cpu in ((9.0, 1.0), (11.0, 3.0), (14.0, 6.0)):
        course.note(moment, cpu, 100.0)
    assert course.cpu_since(course.begun_at) == 4.0
    assert course.cpu_since(12.5) == 1.5


# --- who takes part ----------------------------------------------------------------------------


def test_each_round_begins_with_another_contender() -> None:
    three = [CONTENDERS[name]() for name in USUAL]
    firsts = [turns(three, number)[0].name for number in (1, 2, 3, 4)]
    assert firsts == [*USUAL, USUAL[0]]
    assert sorted(each.name for each in turns(three, 2)) == sorted(USUAL)


def test_contenders_are_called_as_they_are_listed() -> None:
    assert {name: make().name for name, make in CONTENDERS.items()} == {
        name: name for name in CONTENDERS
    }
    assert isinstance(CONTENDERS[OURS](), Tollgate)
    assert RIVAL in USUAL


# --- what is built -----------------------------------------------------------------------------


def test_a_machine_without_compiler_and_maven_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SetupError) as told:
        peer_build.find_tools()
    assert "a Java compiler (javac) and Maven (mvn)" in told.value.message
    assert "apt install" in told.value.action
    assert main(["--home", str(tmp_path / "home"), "--only", "flink"]) == 2
    assert "to do: Install a JDK" in capsys.readouterr().err


def test_a_changed_source_is_built_anew(tmp_path: Path) -> None:
    source = tmp_path / "Peer.java"
    source.write_text("class Peer {}")
    before = peer_build.fingerprint(tmp_path)
    assert peer_build.fingerprint(tmp_path) == before
    source.write_text("class Peer { }")
    assert peer_build.fingerprint(tmp_path) != before


def test_every_version_of_the_build_is_pinned() -> None:
    poms = [path.read_text("utf-8") for path in peer_build.SOURCES.rglob("pom.xml")]
    versions = [found for pom in poms for found in re.findall(r"<[\w.]*version>([^<]+)<", pom)]
    assert len(versions) > 10
    assert not [
        found for found in versions if not re.fullmatch(r"[\d.]+(-[\d.]+)?|\$\{.+\}", found)
    ]
    # Only the parent names versions of others; a module has its parent's.
    assert sum("<dependencyManagement>" in pom for pom in poms) == 1
