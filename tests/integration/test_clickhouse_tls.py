"""ClickHouse behind TLS, and each process as a user that has its own rights alone."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from schemas.money import PICO
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.app.warehouse import clickhouse, run_migrations
from streams.cli import main
from streams.embedded import doctor
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError, SetupError
from streams.invoicing import roles
from streams.invoicing.drafts_store import store_drafts
from streams.settings import Settings
from tests.authority import Authority
from tests.clickhouse_users import DATABASE, clickhouse_with_roles, password_of
from tests.installation import drop_topics
from tests.integration.test_drafts_store import MONDAY_US, draft_of, line
from tests.rows import row
from tests.sink_processes import PARTITIONS, Sinks, create_topics, fill
from tests.tls_proxy import tls_before


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def plain_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The server itself, which speaks no TLS."""
    with clickhouse_with_roles(tmp_path_factory.mktemp("secured")) as port:
        yield port


@pytest.fixture(scope="module")
def tls_port(plain_port: int, authority: Authority) -> Iterator[int]:
    """TLS before it, with a certificate for `localhost` alone."""
    with tls_before(plain_port, *authority.issue("clickhouse", "localhost")) as port:
        yield port


@pytest.fixture(scope="module")
def as_role(
    tls_port: int, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Settings]:
    """Settings of a process that comes as the user of a role; `more` replaces what they say."""
    home = tmp_path_factory.mktemp("home")

    def made(role: str, **more: Any) -> Settings:
        fields: dict[str, Any] = {
            "home": home,
            "clickhouse_url": f"https://localhost:{tls_port}",
            "clickhouse_user": f"tollgate_{role}",
            "clickhouse_password": SecretStr(password_of(role)),
            "clickhouse_tls_ca": authority.certificate,
            "clickhouse_database": DATABASE,
        }
        return Settings(**fields | more)

    return made


@pytest.fixture(scope="module")
def tables(as_role: Callable[..., Settings]) -> int:
    """All tables, made over TLS by the one who may make them; how many migrations there were."""
    return len(run_migrations(as_role("migrate")).applied)


def test_migrations_run_over_tls_and_a_second_time_find_nothing_to_do(
    tables: int, as_role: Callable[..., Settings]
) -> None:
    assert tables > 0
    assert not run_migrations(as_role("migrate")).applied


def test_a_sink_process_fills_the_tables_over_tls_with_its_own_rights(
    endpoints: Endpoints,
    tables: int,
    as_role: Callable[..., Settings],
    unique_name: str,
    topic_prefix: str,
    tmp_path: Path,
) -> None:
    settings = as_role(
        "sink",
        home=tmp_path,
        kafka_bootstrap=endpoints.kafka_bootstrap,
        topic_prefix=topic_prefix,
        app_id=unique_name,
        partitions=PARTITIONS,
        sink_linger_ms=20,
    )
    with closing(clickhouse(settings)) as warehouse:
        sinks = Sinks(settings, warehouse)
        try:
            create_topics(sinks)
            total = fill(sinks, cycles=2, abort_every=0)
            sinks.start()
            sinks.wait_rows(total)
            each = total // PARTITIONS
            assert sinks.exact() == dict.fromkeys(range(PARTITIONS), (each, each, each - 1))
        finally:
            for process in sinks.processes:
                process.kill()
                process.wait()
            drop_topics(settings)


def test_an_invoice_is_read_over_tls_as_a_reader(
    tables: int,
    as_role: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with closing(clickhouse(as_role("sink"))) as warehouse:
        rows = ClickHouseRows(warehouse)
        body = b"\n".join(row(n, partition=77, customer="secured") for n in range(3))
        asyncio.run(rows.insert("ledger", 1, 77, -1, body))
    for name, value in as_role("gateway").environment().items():
        monkeypatch.setenv(name, value)
    assert main.run(["invoice", "usage", "secured", "--period", "2026-01", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["customer_id"] == "secured"


def test_invoicing_stores_drafts_and_may_not_touch_the_ledger(
    tables: int, as_role: Callable[..., Settings]
) -> None:
    with closing(clickhouse(as_role("invoicing"))) as store:
        store_drafts(store, "r1", MONDAY_US, [draft_of("acme", line(1, PICO))])
        assert store.query("SELECT count() FROM drafts").rows[0][0] == 1
        beside = store.query_beside("SELECT sum(n) FROM asked", {}, "asked", "n UInt8", b'{"n":7}')
        assert beside.rows[0][0] == 7


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("migrate", "INSERT INTO ledger (entry_id) VALUES ('x')"),
        ("migrate", "CREATE DATABASE other"),
        ("migrate", "ALTER TABLE ledger DELETE WHERE 1"),
        ("migrate", "TRUNCATE TABLE ledger"),
        ("migrate", "DROP TABLE ledger"),
        ("sink", "INSERT INTO draft_runs (run) VALUES ('x')"),
        ("sink", "ALTER TABLE ledger DELETE WHERE 1"),
        ("sink", "DROP TABLE ledger"),
        ("sink", "TRUNCATE TABLE ledger"),
        ("sink", "CREATE TABLE mine (a Int8) ENGINE = Memory"),
        ("invoicing", "INSERT INTO ledger (entry_id) VALUES ('x')"),
        ("invoicing", "ALTER TABLE draft_lines DELETE WHERE 1"),
        ("gateway", "INSERT INTO draft_runs (run) VALUES ('x')"),
        ("gateway", "SELECT * FROM file('/etc/passwd', 'LineAsString') FORMAT Null"),
        ("gateway", "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString') FORMAT Null"),
        ("sink", "GRANT SELECT ON *.* TO tollgate_gateway"),
    ],
)
def test_what_a_role_need_not_do_it_may_not(
    role: str, statement: str, tables: int, as_role: Callable[..., Settings]
) -> None:
    denied = pytest.raises((SetupError, FaultError), match=r"(?i)not enough privileges|denied")
    with closing(clickhouse(as_role(role))) as found, denied:
        found.execute(statement)


@pytest.mark.parametrize(("role", "may"), [("rebuild", 1), ("migrate", 0), ("invoicing", 0)])
def test_only_who_rebuilds_may_drop_the_database(
    role: str, may: int, tables: int, as_role: Callable[..., Settings]
) -> None:
    with closing(clickhouse(as_role(role))) as found:
        answer = found.query(f"CHECK GRANT DROP DATABASE ON {DATABASE}.*")
        assert int(answer.rows[0][0]) == may


def test_every_role_is_told_as_statements_for_a_server_of_ones_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOLLGATE_HOME", str(tmp_path))
    assert main.run(["analyst", "roles"]) == 0
    said = capsys.readouterr().out
    for role in roles.ROLES:
        for right in roles.rights(role, DATABASE):
            assert f"GRANT {right} TO tollgate_{role};\n" in said


# --- who is not believed ------------------------------------------------------------------------


def refusal(settings: Settings) -> SetupError:
    with pytest.raises(SetupError) as caught:
        clickhouse(settings).close()
    assert "secret-of-" not in str(caught.value)
    return caught.value


def test_a_server_that_another_authority_vouches_for_is_refused(
    as_role: Callable[..., Settings], tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other").certificate
    refused = refusal(as_role("sink", clickhouse_tls_ca=other))
    assert "nobody trusted has signed" in refused.message
    assert "TOLLGATE_CLICKHOUSE_TLS_CA" in refused.action


def test_without_the_file_only_whom_the_system_trusts_is_believed(
    as_role: Callable[..., Settings],
) -> None:
    refused = refusal(as_role("sink", clickhouse_tls_ca=None))
    assert "TOLLGATE_CLICKHOUSE_TLS_CA" in refused.action


def test_a_host_that_is_not_in_the_certificate_is_refused(
    as_role: Callable[..., Settings], tls_port: int
) -> None:
    refused = refusal(as_role("sink", clickhouse_url=f"https://127.0.0.1:{tls_port}"))
    assert "certificate is for another host" in refused.message
    assert "TOLLGATE_CLICKHOUSE_URL" in refused.action


def test_a_port_without_tls_is_told_apart(
    as_role: Callable[..., Settings], plain_port: int
) -> None:
    refused = refusal(as_role("sink", clickhouse_url=f"https://localhost:{plain_port}"))
    assert "speaks no TLS" in refused.message


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_authorities_that_is_none_is_refused_under_its_setting(
    content: str | None, as_role: Callable[..., Settings], tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    refused = refusal(as_role("sink", clickhouse_tls_ca=file))
    assert refused.message.startswith(f"TOLLGATE_CLICKHOUSE_TLS_CA: the file {file}")


def test_the_doctor_asks_over_tls_and_says_what_is_wrong(
    as_role: Callable[..., Settings], tmp_path: Path
) -> None:
    assert doctor.check_external_clickhouse(as_role("sink")).status == "ok"
    other = Authority(tmp_path, "other").certificate
    found = doctor.check_external_clickhouse(as_role("sink", clickhouse_tls_ca=other))
    assert found.status == "missing"
    assert "TOLLGATE_CLICKHOUSE_TLS_CA" in found.remedy
