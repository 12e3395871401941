"""schemas.partitioner: the partition that Kafka's own default partitioner gives."""

import pytest

from schemas.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "signed_hash"),
    [
        # The cases of Kafka's own UtilsTest.testMurmur2, as signed 32-bit integers.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_kafkas_murmur2(key: bytes, signed_hash: int) -> None:
    assert murmur2(key) == signed_hash & 0xFFFFFFFF


@pytest.mark.parametrize("key", [b"", b"\xff", b"\xff\xfe", b"\xff\xfe\xfd", b"\xff\xfe\xfd\xfc"])
def test_every_length_of_the_last_block_gives_a_32_bit_hash(key: bytes) -> None:
    assert 0 <= murmur2(key) <= 0xFFFFFFFF
    assert 0 <= partition_of(key, 8) < 8


def test_the_hash_agrees_with_that_of_the_kafka_client() -> None:
    from aiokafka.partitioner import murmur2 as kafka_murmur2

    keys = [f"customer-{number}".encode()[: number % 16] for number in range(500)]
    assert [murmur2(key) for key in keys] == [kafka_murmur2(key) & 0xFFFFFFFF for key in keys]


def test_a_negative_hash_is_made_positive_as_kafka_does_it() -> None:
    # -973932308 & 0x7fffffff, not its absolute value.
    assert partition_of(b"21", 1000) == (-973932308 & 0x7FFFFFFF) % 1000


def test_customers_spread_over_all_partitions() -> None:
    partitions = {partition_of(f"customer-{number}".encode(), 8) for number in range(200)}
    assert partitions == set(range(8))
