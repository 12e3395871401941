"""What is lost between a fetch and its table or its cycle is read again: a table never stands at an
offset whose rows it lacks."""

from pathlib import Path

from streams.embedded.endpoints import Endpoints
from tests.recovery.cases import check_attributed, check_books, one_partition, produce
from tests.soak.shares import close_soon

LOSING = ["tests.recovery.losing_launcher"]


def test_a_worker_that_loses_much_of_what_it_fetches_has_the_same_books_and_tables(
    endpoints: Endpoints, unique_name: str, tmp_path: Path
) -> None:
    with one_partition(endpoints, unique_name, tmp_path) as installation:
        close_soon(installation, grace_seconds=0)
        # Each on an empty disk, so that its recovery loses as well as its cycles, and each decides
        # with the windows, budgets and claims of the one before.
        for number in range(3):
            worker = installation.start(LOSING, f"disk{number}")
            produce(installation, f"batch{number}", traced=True)
            installation.wait_consumed()
            assert installation.stop(worker) == 0, installation.log_text(f"disk{number}")
            assert "reading again" in installation.log_text(f"disk{number}")
        installation.start_worker("disk3")
        check_books(installation)
        check_attributed(installation)
