"""The same job as its users would write it with Faust as it comes: one agent, two tables, one
output record per accepted event.

Tables keep their changelogs, the store is in memory; nothing is exactly once. Settings are Faust's
own, but for a longer fetch and no wait for an empty stream.
Arguments: bootstrap, application id, input topic, output topic, partitions, directory.
"""

import sys
from typing import Any

import faust
import orjson

from schemas.money import parse_amount

bootstrap, app_id, source_name, output_name, partitions, folder = sys.argv[1:7]
sys.argv[1:] = []  # Faust reads them too

app = faust.App(
    app_id,
    broker=f"kafka://{bootstrap}",
    store="memory://",
    datadir=folder,
    topic_partitions=int(partitions),
    topic_disable_leader=True,
    topic_allow_declare=False,
    web_enabled=False,
    autodiscover=False,
    stream_wait_empty=False,
    consumer_auto_offset_reset="earliest",
)
TYPES: dict[str, Any] = {"key_type": bytes, "value_type": bytes}
RAW: dict[str, Any] = TYPES | {"key_serializer": "raw", "value_serializer": "raw"}
"""Bodies are read by orjson below, which is the fastest that a program can do on Faust."""

source = app.topic(source_name, **RAW)
output = app.topic(output_name, **RAW)
seen = app.Table("seen", partitions=int(partitions), **TYPES)
sums = app.Table("sums", partitions=int(partitions), **TYPES)


@app.agent(source)
async def bill(events: faust.StreamT[bytes]) -> None:
    """Drops duplicates, keeps each customer's sums, says both for every accepted event."""
    async for value in events:
        body = orjson.loads(value)
        event_id, customer = body["event_id"].encode(), body["customer_id"].encode()
        if seen.get(event_id) is not None:
            continue
        seen[event_id] = b"1"
        tokens = sum(body["tokens"].values())
        cost = parse_amount(body.get("cost", "0"))
        before = sums.get(customer)
        held = [0, 0] if before is None else [int(part) for part in before.split(b",")]
        held = [held[0] + tokens, held[1] + cost]
        sums[customer] = b"%d,%d" % (held[0], held[1])
        entry = {
            "event_id": body["event_id"],
            "customer_id": body["customer_id"],
            "tokens": tokens,
            "cost_pico": cost,
            "sum_tokens": held[0],
            "sum_cost_pico": held[1],
        }
        await output.send(key=customer, value=orjson.dumps(entry))


@app.on_rebalance_complete.connect
async def _ready(*_args: Any, **_kwargs: Any) -> None:
    # On a line of its own: Faust's greeting does not end its last one.
    print("\nREADY", file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    faust.Worker(app, loglevel="warn", redirect_stdouts=False).execute_from_commandline()
