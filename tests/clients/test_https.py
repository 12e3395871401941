"""HTTPS as clients meet it: those that trust the authority get in, the others are told, and a
certificate is exchanged while the gateway runs."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streams.embedded.ports import pick_free_ports
from tests.authority import Authority
from tests.clients.sdk import AgentBillClient
from tests.clients.whole import ANSWER_SECONDS, READY_SECONDS, Target, Whole, fresh
from tests.embedded_waiting import until
from tests.unit.test_tls import put


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("https"), "trusted")


@pytest.fixture(scope="module")
def served_from(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the certificate that the gateway serves."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def secure(whole: Whole, authority: Authority, served_from: Path) -> Iterator[Target]:
    """A gateway that speaks HTTPS alone, in a process of its own."""
    certificate, key = put(served_from, authority.issue("first", "localhost"))
    [port] = pick_free_ports(1)
    target = Target(f"https://localhost:{port}", whole.keys.good)
    installation = whole.installation
    process = installation.start(
        ["streams", "gateway"],
        "gateway-https",
        gateway_listen=f"127.0.0.1:{port}",
        gateway_tls_certificate=certificate,
        gateway_tls_key=key,
    )

    def answers() -> bool:
        assert process.poll() is None, installation.log_text("gateway-https")
        try:
            return ask(target, authority).status_code == 200
        except requests.ConnectionError:
            return False

    until(answers, f"{target.url} answers", READY_SECONDS)
    yield target
    installation.stop(process)
    installation.workers.remove(process)


@pytest.fixture(autouse=True)
def nobody_elses_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's machine trusts counts for `requests` before what a session is told."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def ask(target: Target, authority: Authority) -> requests.Response:
    return requests.get(
        f"{target.url}/v1/customers/acme/budget",
        headers={"Authorization": f"Bearer {target.key}"},
        timeout=ANSWER_SECONDS,
        verify=str(authority.certificate),
    )


def one_span() -> list[ReadableSpan]:
    made: Any = InMemorySpanExporter()
    provider: Any = TracerProvider(resource=Resource({"tollgate.customer_id": fresh("c")}))
    provider.add_span_processor(SimpleSpanProcessor(made))
    with provider.get_tracer("agent").start_as_current_span("chat"):
        pass
    provider.shutdown()
    return list(made.get_finished_spans())


def serial(target: Target, authority: Authority) -> str:
    """The number of the certificate that a new connection is shown."""
    parts = urlsplit(target.url)
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with (
        socket.create_connection(("127.0.0.1", parts.port or 0), ANSWER_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return str((secured.getpeercert() or {})["serialNumber"])


def test_agentbills_client_spends_over_https(
    secure: Target, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As its users do it: the client has no option of its own for this.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.certificate))
    client = AgentBillClient(secure.key, base_url=secure.url)
    check = client.preflight("researcher", estimated_units=10, customer_id=fresh("c"))
    assert check.approved
    assert check.record(units=8)["status"] == "recorded"


def test_an_exporter_exports_over_https(secure: Target, authority: Authority) -> None:
    exporter: Any = OTLPSpanExporter(
        f"{secure.url}/v1/traces",
        headers={"Authorization": f"Bearer {secure.key}"},
        certificate_file=str(authority.certificate),
        timeout=30,
    )
    assert exporter.export(one_span()) is SpanExportResult.SUCCESS
    exporter.shutdown()


def test_who_does_not_trust_the_authority_sends_nothing(secure: Target, tmp_path: Path) -> None:
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(secure, Authority(tmp_path, "stranger"))


def test_plain_http_is_not_answered(secure: Target) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(secure.url.replace("https:", "http:"), timeout=ANSWER_SECONDS)


def test_a_certificate_is_exchanged_while_the_gateway_runs(
    secure: Target, authority: Authority, served_from: Path, whole: Whole
) -> None:
    with requests.Session() as session:
        session.verify = str(authority.certificate)
        session.headers["Authorization"] = f"Bearer {secure.key}"
        path = f"{secure.url}/v1/customers/acme/budget"
        assert session.get(path, timeout=ANSWER_SECONDS).status_code == 200
        before = serial(secure, authority)
        # First a pair that does not belong together, which is served to nobody.
        new = authority.issue("second", "localhost")
        (served_from / "served.key").write_bytes(new[1].read_bytes())
        until(
            lambda: (
                "the one before is still served" in whole.installation.log_text("gateway-https")
            ),
            "the wrong pair is told",
            ANSWER_SECONDS,
        )
        assert serial(secure, authority) == before
        (served_from / "served.pem").write_bytes(new[0].read_bytes())
        until(lambda: serial(secure, authority) != before, "the new one is served", ANSWER_SECONDS)
        assert session.get(path, timeout=ANSWER_SECONDS).status_code == 200


def test_a_gateway_with_a_wrong_key_does_not_start(
    whole: Whole, authority: Authority, tmp_path: Path
) -> None:
    certificate, _ = authority.issue("third", "localhost")
    _, key = authority.issue("fourth", "localhost")
    process = whole.installation.start(
        ["streams", "gateway"],
        "gateway-wrong",
        gateway_listen="127.0.0.1:0",
        gateway_tls_certificate=certificate,
        gateway_tls_key=key,
    )
    assert process.wait(READY_SECONDS) == 2
    whole.installation.workers.remove(process)
    assert "the key belongs to another certificate" in " ".join(
        whole.installation.log_text("gateway-wrong").split()
    )
