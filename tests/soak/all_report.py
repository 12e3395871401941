"""The report of a soak of everything: for people in Markdown, for machines in JSON."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

from streams.bench.report import machine
from tests.soak.all_clients import Answers
from tests.soak.all_run import Result
from tests.soak.all_samples import Flatness, Series

SLICES: Final = 20
"""Rows of the tables over time."""
PERCENTILES: Final = (50, 99)


def percentile(values: Sequence[float], percent: int) -> float:
    """The nearest rank; 0.0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


def slices(result: Result) -> list[tuple[float, float]]:
    """The load's time in equal parts: from, to."""
    length = result.load_seconds / SLICES
    return [(number * length, (number + 1) * length) for number in range(SLICES)]


def latencies(result: Result, answers: Answers) -> list[dict[str, float]]:
    """Answers of one kind by the time at which they were asked for."""
    found = []
    for begin, end in slices(result):
        part = [s for at, s in list(answers.times) if begin <= at - result.begun < end]
        row = {
            "from_s": round(begin, 1),
            "answers": len(part),
            "max_ms": max(part, default=0) * 1e3,
        }
        found.append(row | {f"p{p}_ms": percentile(part, p) * 1e3 for p in PERCENTILES})
    return found


def lag_over_time(result: Result) -> list[dict[str, float | None]]:
    """The largest lag in each part of the time, and how often there was no answer."""
    found: list[dict[str, float | None]] = []
    for begin, end in slices(result):
        part = [look for look in result.lags if begin <= look.at < end]
        found.append(
            {
                "from_s": round(begin, 1),
                "workers_max": max(
                    (x.workers for x in part if x.workers is not None), default=None
                ),
                "rows_max": max((x.rows for x in part if x.rows is not None), default=None),
                "no_answer": sum(look.workers is None for look in part),
            }
        )
    return found


def as_json(result: Result) -> dict[str, Any]:
    """Everything, samples included."""
    clients = result.clients
    return {
        "ok": result.ok,
        "faults_found": result.verdict.faults,
        "seed": result.plan.seed,
        "seconds": result.plan.seconds,
        "load_seconds": result.load_seconds,
        "drain_seconds": result.drain_seconds,
        "machine": machine(),
        "troubles": [{"at": round(at, 1), "what": what} for at, what in result.done],
        "books": dataclasses.asdict(result.verdict),
        "decisions": result.decisions and dataclasses.asdict(result.decisions),
        "audit": result.audit,
        "kafka": {"sends": result.kafka_sends, "unknown": result.kafka_unknown},
        "http": {
            kind: {
                "answered": len(found.times),
                "unanswered": found.unanswered,
                "tries_by_status": {str(status): n for status, n in sorted(found.tries.items())},
                "over_time": latencies(result, found),
            }
            for kind, found in sorted(clients.answers.items() if clients else ())
        },
        "lag": lag_over_time(result),
        "flat": [dataclasses.asdict(flat) for flat in result.flat],
        "series": [_series(series) for series in result.series],
        "disk_mib": [
            {"at": round(at, 1), **{name: round(size, 1) for name, size in sizes.items()}}
            for at, sizes in result.disk
        ],
        "exits": {
            name: {str(c): n for c, n in codes.items()} for name, codes in result.exits.items()
        },
        "status": result.status,
    }


def _series(series: Series) -> dict[str, Any]:
    columns = ("at", "rss_mib", "descriptors", "threads", "sockets")
    rows = [[round(getattr(sample, c), 1) for c in columns] for sample in series.samples]
    return {"name": series.name, "pid": series.pid, "columns": columns, "samples": rows}


def as_markdown(result: Result) -> str:
    """The report to read."""
    told = as_json(result)
    books = told["books"]
    lines = [
        f"# Soak of everything: {'passed' if result.ok else 'FAULTS'}",
        "",
        f"Seed {result.plan.seed}, {result.load_seconds:.0f} s of load, drained in "
        f"{result.drain_seconds:.1f} s. Machine: "
        + ", ".join(f"{name} {value}" for name, value in told["machine"].items())
        + ".",
        "",
        *(f"- FAULT: {fault}" for fault in result.verdict.faults),
        (
            f"- {books['events']} records in the log: {books['lost']} lost, {books['doubled']} "
            f"doubled, {books['wrong_sums']} wrong sums; {books['letters']} dead letters were due; "
            f"{books['shares']} shares of costs"
        ),
        f"- {result.kafka_sends} records sent to Kafka, {result.kafka_unknown} unacknowledged",
        f"- `tollgate audit`: {result.audit}",
        *_decisions(result),
        f"- exits by process (code: times): {told['exits']}",
        "",
        "## Troubles",
        "",
        *(f"- {each['at']:.0f} s: {each['what']}" for each in told["troubles"]),
        "",
        *_answers(told["http"]),
        *_over_time(told),
        *_flat(result.flat, result.series),
        *_disk(result),
    ]
    if result.status is not None:
        lines += ["## `tollgate status` right after a worker was killed", ""]
        lines += [f"Exit {result.status['exit']}; what it said is in the JSON report."]
    return "\n".join(lines).rstrip() + "\n"


def _decisions(result: Result) -> list[str]:
    if result.decisions is None:
        return ["- decisions were not judged"]
    found = result.decisions
    text = (
        f"- {found.approved + found.refused} decisions ({found.approved} approved): "
        f"{found.overspent_units} units overspent, {found.leaked_holds} holds leaked, "
        f"{found.void_answers} void answers, {found.doubled} decided twice"
    )
    return [text]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(cell) for cell in row) + " |" for row in lines] + [""]


def _answers(http: dict[str, Any]) -> list[str]:
    rows = [
        (kind, each["answered"], each["unanswered"], each["tries_by_status"])
        for kind, each in http.items()
    ]
    head = ("request", "answered", "never answered", "tries by status (0: no connection)")
    return ["## Answers over HTTP", "", *_table(head, rows)]


def _over_time(told: dict[str, Any]) -> list[str]:
    asked = told["http"].get("preflight", {"over_time": []})["over_time"]
    rows = [
        (
            f"{look['from_s']:.0f}",
            each["answers"],
            f"{each['p50_ms']:.0f}",
            f"{each['p99_ms']:.0f}",
            f"{each['max_ms']:.0f}",
            look["workers_max"],
            look["rows_max"],
            look["no_answer"],
        )
        for each, look in zip(asked, told["lag"], strict=False)
    ]
    head = ("from s", "preflights", "p50 ms", "p99 ms", "max ms", "lag", "sink lag", "no answer")
    text = (
        "Times of preflights include all tries; lag is the most that workers were behind, in "
        "records; sink lag in offsets of the ledger beyond the rows (markers of transactions among "
        "them, so it grows); no answer: looks that the broker did not answer."
    )
    return ["## Over time", "", text, "", *_table(head, rows)]


def _flat(flat: Sequence[Flatness], series: Sequence[Series]) -> list[str]:
    rows = [
        (
            each.name,
            f"{each.seconds:.0f}",
            f"{each.mean_mib:.0f}",
            f"{each.peak_mib:.0f}",
            f"{each.drift_mib:+.1f}",
            f"{each.drift_descriptors:+.1f}",
            f"{each.drift_threads:+.1f}",
            f"{each.drift_sockets:+.1f}",
            "ok" if not each.faults else "FAULT",
        )
        for each in sorted(flat, key=lambda found: (found.name, -found.seconds))
    ]
    text = (
        f"{len(series)} lives of processes, {len(flat)} of them long enough to be judged. Drift is "
        "what a straight line rises by over the seconds after the warm-up."
    )
    head = ("process", "s", "mean MiB", "peak", "drift MiB", "files", "threads", "sockets", "")
    return ["## Memory and descriptors", "", text, "", *_table(head, rows)]


def _disk(result: Result) -> list[str]:
    if not result.disk:
        return []
    names = list(result.disk[0][1])
    step = max(1, len(result.disk) // SLICES)
    rows = [
        (f"{at:.0f}", *(f"{sizes[name]:.0f}" for name in names))
        for at, sizes in result.disk[::step]
    ]
    return ["## Disk, MiB", "", *_table(("s", *names), rows)]
