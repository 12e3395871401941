"""`python -m bench.peers`: Tollgate beside Kafka Streams exactly-once and Flink, in turns.

Everybody reads the same usage records from the same topic of an embedded broker, drops duplicates,
keeps sums by customer and writes one record for each accepted event; everybody runs alone on one
core. Exit codes: 0 measured and the target met, 1 target missed, 2 a result was wrong or something
could not run.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.contenders import CONTENDERS, USUAL
from bench.figures import Run, ratio_lines, report, table
from bench.rounds import run_rounds
from streams.adapters.clock import SystemClock
from streams.bench.events import SEED, Workload, yesterday_us
from streams.bench.ground import open_ground
from streams.bench.report import machine
from streams.embedded.home import Home
from streams.embedded.supervisor import say_on_stderr
from streams.embedded.wiring import signals_as_interrupt
from streams.errors import TollgateError
from streams.settings import Settings, load_settings

EVENTS: Final = 1_000_000
ROUNDS: Final = 3

CACHE_NAME: Final = "peers-cache"
"""Folder of the built peers, in the folder `bench` of the home."""

EXIT_FAILED: Final = 2
EXIT_INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        with signals_as_interrupt():
            return _measure(given, load_settings({"home": given.home}))
    except TollgateError as error:
        print(f"error: {error.message}\nto do: {error.action}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _measure(given: argparse.Namespace, settings: Settings) -> int:
    # The folder below would make a home that has not been used yet look like somebody else's.
    Home(settings.home).prepare()
    contenders = [CONTENDERS[name]() for name in dict.fromkeys(given.only or USUAL)]
    for contender in contenders:
        contender.prepare(settings.home / "bench" / CACHE_NAME)
    workload = Workload(given.events, yesterday_us(SystemClock().now_us()), seed=given.seed)
    runs: list[Run] = []
    with open_ground(settings, say_on_stderr) as ground:
        about = machine() | {
            "pinned": ground.cores.pinned,
            "events": given.events,
            "rounds": given.rounds,
            "seed": given.seed,
        }
        for run in run_rounds(ground, contenders, workload, given.rounds):
            say_on_stderr(
                f"{run.contender}: {run.rate:,.0f} events/s, {run.rate_per_cpu:,.0f} per CPU "
                f"second; anchor {run.anchor_before:,.0f} before, {run.anchor_after:,.0f} after"
            )
            runs.append(run)
    made = report(runs, about)
    if not about["pinned"]:
        print("nothing was pinned: contenders and broker shared all cores")
    print(table(runs))
    for line in ratio_lines(runs):
        print(line)
    if given.json is not None:
        made.write(given.json)
    return made.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--events", type=_positive, default=EVENTS, help="input records")
    parser.add_argument("--rounds", type=_positive, default=ROUNDS, help="runs of each contender")
    parser.add_argument(
        "--only",
        action="append",
        choices=sorted(CONTENDERS),
        metavar="NAME",
        help=f"who takes part ({', '.join(CONTENDERS)}); may be repeated; "
        f"usually {', '.join(USUAL)}",
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the records")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--home", metavar="DIR", help="home directory [env: TOLLGATE_HOME]")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
