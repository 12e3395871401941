"""A served certificate: which pair counts, what is said of a bad one, and when it is exchanged."""

import ssl
from pathlib import Path

import pytest

from streams.errors import SetupError
from streams.tls import ServedCertificate
from tests.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def put(folder: Path, pair: tuple[Path, Path]) -> tuple[Path, Path]:
    """Copies a pair to where it is served from; the parts arrive one after the other."""
    placed = folder / "served.pem", folder / "served.key"
    for source, target in zip(pair, placed, strict=True):
        target.write_bytes(source.read_bytes())
    return placed


def shown(served: ServedCertificate, authority: Authority) -> dict[str, object]:
    """What a client that trusts the authority is shown."""
    client = ssl.create_default_context(cafile=str(authority.certificate))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    serving = served.context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [asking, serving]
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    return dict(asking.getpeercert() or {})


def test_it_knows_its_hosts_and_its_end(authority: Authority) -> None:
    served = ServedCertificate(*authority.issue("one", "localhost", "127.0.0.1"))
    assert served.hosts == ("localhost", "127.0.0.1")
    assert served.until.endswith("GMT")


def test_a_new_pair_is_served_to_the_next_connection(authority: Authority, tmp_path: Path) -> None:
    served = ServedCertificate(*put(tmp_path, authority.issue("first", "localhost")))
    first = shown(served, authority)["serialNumber"]
    assert not served.look()
    put(tmp_path, authority.issue("second", "localhost"))
    assert served.look()
    assert shown(served, authority)["serialNumber"] != first
    assert not served.look()


def test_half_of_a_new_pair_changes_nothing_until_the_other_half_is_there(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, key = put(tmp_path, authority.issue("whole", "localhost"))
    served = ServedCertificate(certificate, key)
    before = shown(served, authority)["serialNumber"]
    new_certificate, new_key = authority.issue("next", "localhost")
    certificate.write_bytes(new_certificate.read_bytes())
    with pytest.raises(SetupError, match="belongs to another certificate"):
        served.look()
    assert shown(served, authority)["serialNumber"] == before
    assert not served.look()
    key.write_bytes(new_key.read_bytes())
    assert served.look()
    assert shown(served, authority)["serialNumber"] != before


def test_files_that_are_swapped_by_a_link_are_noticed(authority: Authority, tmp_path: Path) -> None:
    """As Kubernetes does with mounted secrets."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        put(tmp_path / name, authority.issue(f"link-{name}", "localhost"))
    current = tmp_path / "current"
    current.symlink_to(tmp_path / "old")
    served = ServedCertificate(current / "served.pem", current / "served.key")
    replacing = tmp_path / "replacing"
    replacing.symlink_to(tmp_path / "new")
    replacing.rename(current)
    assert served.look()


def test_the_key_of_another_certificate_is_refused(authority: Authority) -> None:
    certificate, _ = authority.issue("mine", "localhost")
    _, key = authority.issue("other", "localhost")
    with pytest.raises(SetupError, match="belongs to another certificate") as refused:
        ServedCertificate(certificate, key)
    assert str(certificate) in refused.value.message


@pytest.mark.parametrize(
    ("days", "said"), [((-9, -1), "certificate has expired"), ((1, 9), "not yet valid")]
)
def test_a_certificate_that_is_not_valid_now_is_refused(
    days: tuple[int, int], said: str, authority: Authority
) -> None:
    with pytest.raises(SetupError, match=said) as refused:
        ServedCertificate(*authority.issue("untimely", "localhost", days=days))
    assert "Renew it" in refused.value.action


@pytest.mark.parametrize("missing", [0, 1])
def test_a_file_that_is_not_there_is_named(
    missing: int, authority: Authority, tmp_path: Path
) -> None:
    pair = list(authority.issue("alone", "localhost"))
    pair[missing] = tmp_path / "gone.pem"
    with pytest.raises(SetupError, match="No such file") as refused:
        ServedCertificate(*pair)
    assert "gone.pem" in refused.value.message


def test_what_is_no_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    _, key = authority.issue("keyed", "localhost")
    (tmp_path / "none.pem").write_text("none")
    with pytest.raises(SetupError, match=r"none\.pem"):
        ServedCertificate(tmp_path / "none.pem", key)


def test_what_is_older_than_tls_1_2_is_not_spoken(authority: Authority) -> None:
    served = ServedCertificate(*authority.issue("modern", "localhost"))
    assert served.context.minimum_version == ssl.TLSVersion.TLSv1_2
