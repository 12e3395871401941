"""`tollgate bench otlp` measures a gateway that runs, and reads what it appended."""

import time
from pathlib import Path

from streams.bench import otlp
from streams.bench.ground import open_ground
from streams.embedded.endpoints import Endpoints
from streams.settings import Settings


def test_spans_are_measured_in_both_forms_and_stand_in_the_log(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, kafka_bootstrap=endpoints.kafka_bootstrap)
    with open_ground(settings, lambda _line: None, pinned=False) as ground:
        now_us = time.time_ns() // 1_000  # noqa: TID251 - the spans end now
        options = otlp.OtlpOptions(seconds=1, partitions=2)
        report = otlp.run_otlp(ground, options, now_us)
    found = {result.name: result for result in report.results}
    for form in otlp.FORMS:
        assert found[f"{form}, lost, doubled or wrong"].value == 0
        assert found[f"{form}, per second of one core"].value > 0
