"""A bare loop over aiokafka: `getmany`, `orjson.loads`, nothing else. No state, no output.

The floor of what a program in Python pays for reading with the usual calls.
Arguments: bootstrap, topic, partitions, records.
"""

import asyncio
import json
import sys

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.money import parse_amount

FETCH_BYTES_MAX = 2 * 1024 * 1024
"""As much from one partition as Tollgate's worker fetches at once."""

RECORDS_MAX = 20_000
WAIT_MS = 1_000


async def main() -> None:
    """Read everything twice: once for the clock, once for the check."""
    bootstrap, topic, partitions, records = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5])
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        for place in places:
            await consumer.position(place)
        print("READY", flush=True)
        units = await _decode(consumer, records)
        print("DONE", flush=True)
        await consumer.seek_to_beginning(*places)
        print("RESULT", json.dumps({"units": units} | await _sums(consumer, records)), flush=True)
    finally:
        await consumer.stop()


async def _decode(consumer: AIOKafkaConsumer, records: int) -> int:
    """What is measured. The sum of units (one each) shows that every body was decoded."""
    loads = orjson.loads
    count = units = 0
    while count < records:
        for batch in (await consumer.getmany(timeout_ms=WAIT_MS, max_records=RECORDS_MAX)).values():
            for record in batch:
                units += loads(record.value)["units"]
            count += len(batch)
    return units


async def _sums(consumer: AIOKafkaConsumer, records: int) -> dict[str, object]:
    seen: set[str] = set()
    tokens: dict[str, int] = {}
    cost: dict[str, int] = {}
    count = 0
    while count < records:
        for batch in (await consumer.getmany(timeout_ms=WAIT_MS, max_records=RECORDS_MAX)).values():
            count += len(batch)
            for record in batch:
                body = orjson.loads(record.value)
                if body["event_id"] not in seen:
                    seen.add(body["event_id"])
                    customer = body["customer_id"]
                    tokens[customer] = tokens.get(customer, 0) + sum(body["tokens"].values())
                    cost[customer] = cost.get(customer, 0) + parse_amount(body.get("cost", "0"))
    return {"distinct": len(seen), "tokens": tokens, "cost_pico": cost}


if __name__ == "__main__":
    asyncio.run(main())
