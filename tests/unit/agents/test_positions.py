"""streams.agents.positions: the tables decide where a partition goes on."""

import logging

import pytest

from schemas.topics import BUDGETS, SIGNALS, USAGE
from streams.agents.positions import start_positions
from streams.domain.state import Progress
from streams.errors import FaultError
from tests.builders import catalog_record, catalog_view

NOTHING = {USAGE.name: None, SIGNALS.name: None, BUDGETS.name: None}


def progress(**consumed: int) -> Progress:
    return Progress(cycle=4, consumed=consumed)


def test_a_partition_that_nothing_happened_in_begins_at_the_beginning() -> None:
    assert start_positions(0, Progress(), NOTHING, catalog_view()) == dict.fromkeys(NOTHING, 0)


def test_tables_and_group_that_agree_go_on_where_both_are() -> None:
    found = start_positions(0, progress(usage=512), {**NOTHING, "usage": 512}, catalog_view())
    assert found == {"usage": 512, "signals": 0, "budgets": 0}


def test_offsets_that_the_broker_forgot_are_those_of_the_tables(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        found = start_positions(3, progress(usage=512), NOTHING, catalog_view())
    assert found["usage"] == 512
    assert "usage, partition 3, is gone" in caplog.text


@pytest.mark.parametrize(("tables", "group"), [(512, 0), (512, 600), (0, 512)])
def test_a_group_that_contradicts_the_tables_stops_the_worker(tables: int, group: int) -> None:
    with pytest.raises(FaultError, match=f"committed {group}, the tables are at {tables}"):
        start_positions(0, progress(usage=tables), {**NOTHING, "usage": group}, catalog_view())


def test_tables_without_content_under_committed_offsets_stop_the_worker() -> None:
    with pytest.raises(FaultError, match="the tables are at None"):
        start_positions(0, Progress(), {**NOTHING, "usage": 512}, catalog_view())


def test_a_new_generation_reads_what_was_made_anew_from_its_beginning() -> None:
    view = catalog_view()
    ids = {"usage": "u2", "signals": "s1"}
    view.fold(
        2, catalog_record("generation", version="2", generation=2, partitions=8, topic_ids=ids)
    )
    view.fold(
        3,
        catalog_record(
            "generation",
            version="3",
            generation=3,
            partitions=8,
            topic_ids={"usage": "u3", "signals": "s1"},
        ),
    )
    of_2 = Progress(cycle=9, generation=2, consumed={"usage": 512, "signals": 40})
    found = start_positions(0, of_2, {**NOTHING, "usage": None, "signals": 40}, view)
    assert found == {"usage": 0, "signals": 40, "budgets": 0}
