"""The services of docker-compose.yml as plain processes: an event goes all the way through them."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import yaml

from streams.adapters.clickhouse import ClickHouse, ClickHouseAddress
from streams.embedded.endpoints import Endpoints
from streams.embedded.ports import pick_free_ports
from streams.settings import load_settings
from tests.composed import PROBED, ROOT, SERVICES, Plain, start_order
from tests.embedded_waiting import until
from tests.installation import drop_topics

SECONDS: Final = 60.0
EVENT: Final = {
    "schema_version": 1,
    "event_id": "call-1",
    "source": "compose",
    "customer_id": "acme",
    "provider": "openai",
    "model": "gpt-4o-mini",
    "units": 1,
    "tokens": {"input": 1200, "output": 150},
}


@pytest.fixture
def plain(endpoints: Endpoints, unique_name: str, tmp_path: Path) -> Any:
    """The file's services, about to be started; the servers are those that all tests share."""
    host = "127.0.0.1"
    ports = iter(pick_free_ports(2 + len(PROBED)))
    places = {
        "kafka:9092": endpoints.kafka_bootstrap,
        "clickhouse:8123": endpoints.clickhouse_url.removeprefix("http://"),
        "worker:8481": f"{host}:{next(ports)}",
        "0.0.0.0:8480": f"{host}:{next(ports)}",
    }
    chosen = {
        "TOLLGATE_TOPIC_PREFIX": f"{unique_name}.",
        "TOLLGATE_APP_ID": unique_name,
        "TOLLGATE_PARTITIONS": "2",
        "TOLLGATE_CLICKHOUSE_DATABASE": unique_name,
    }
    metrics = {name: f"{host}:{next(ports)}" for name in PROBED}
    with Plain(tmp_path, places, chosen, metrics) as found:
        found.make_secrets()
        # In a container the server takes this file for its own; here it runs already.
        password = found.secret("clickhouse_password")
        password.chmod(0o600)
        password.write_text(endpoints.clickhouse_password, encoding="utf-8")
        yield found
    settings = load_settings(environment=found.environment("tollgate"))
    drop_topics(settings)
    with_database(endpoints, unique_name).execute(f"DROP DATABASE IF EXISTS {unique_name} SYNC")


def with_database(endpoints: Endpoints, name: str) -> ClickHouse:
    return ClickHouse(
        ClickHouseAddress(
            endpoints.clickhouse_url, endpoints.clickhouse_user, endpoints.clickhouse_password, name
        )
    )


@pytest.mark.timeout(300)
def test_an_event_goes_through_the_services_of_the_compose_file(
    plain: Plain, endpoints: Endpoints, unique_name: str
) -> None:
    assert SERVICES["clickhouse"]["environment"]["CLICKHOUSE_USER"] == endpoints.clickhouse_user
    plain.up("topics")
    key = plain.run("tollgate", "keys", "create", "--label", "first", "--scope", "ingest").strip()
    assert plain.check("gateway") == 1, "nothing answers yet"
    plain.up()
    assert set(plain.running) == set(PROBED) == {"worker", "sink", "gateway"}

    url = "http://" + plain.places["0.0.0.0:8480"]
    body = json.dumps(EVENT)
    stranger = requests.post(f"{url}/v1/events", data=body, timeout=SECONDS)
    assert stranger.status_code == 401
    told = requests.post(
        f"{url}/v1/events",
        data=body,
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
        timeout=SECONDS,
    )
    assert told.status_code == 202, told.text

    database = with_database(endpoints, unique_name)
    query = "SELECT event_id, customer_id, cost FROM usage"
    until(lambda: len(database.query(query).rows) == 1, "the event is in ClickHouse", SECONDS)
    [(event_id, customer, cost)] = database.query(query).rows
    assert (event_id, customer) == ("call-1", "acme")
    assert cost > 0, "the price book was imported"

    for target in scraped():
        name = target.partition(":")[0]
        text = requests.get(f"http://{plain.metrics[name]}/metrics", timeout=SECONDS).text
        assert re.search(r"^tollgate_\w+", text, re.MULTILINE)
    for name in reversed(start_order()):
        if name in plain.running:
            assert plain.stop(name) == 0, plain.log(name).read_text("utf-8")


def scraped() -> list[str]:
    """What the Prometheus of the compose file asks."""
    written = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text("utf-8"))
    return [
        target
        for job in written["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    ]
