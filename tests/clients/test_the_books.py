"""What all the clients did, whatever it was, can be decided again from the log. Last in the order
of this folder's files, so that it looks at all of it."""

from tests.clients.whole import Whole


def test_everything_that_clients_did_is_decided_the_same_again(whole: Whole) -> None:
    whole.installation.wait_consumed()
    done = whole.command("audit", "--no-clickhouse")
    assert done.returncode == 0, done.stdout + done.stderr
