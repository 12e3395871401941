"""What a home remembers of its demo, so that a second run sends the same bytes.

The day is chosen once: events older than the lateness limit would be refused, so the calls of 2023
are moved to the day before the first run. How many customers there are is part of every event.
"""

import datetime
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from streams.demo.customers import SEED
from streams.errors import SetupError

FILE_NAME = "demo.json"


@dataclass(frozen=True, slots=True)
class Remembered:
    """The demo of a home: its day (UTC, YYYY-MM-DD), its customers, the most calls ever sent."""

    day: str
    customers: int
    rows: int
    seed: str = SEED

    @property
    def date(self) -> datetime.date:
        """`day` as a date."""
        return datetime.date.fromisoformat(self.day)


def load_remembered(home: Path) -> Remembered | None:
    """What the home remembers, None before its first demo. Raises SetupError."""
    path = home / FILE_NAME
    try:
        remembered = Remembered(**json.loads(path.read_text("utf-8")))
        datetime.date.fromisoformat(remembered.day)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as fault:
        raise SetupError(
            f"{path} cannot be read: {fault}",
            action="Run the demo on a new home directory: --home DIR.",
        ) from fault
    return remembered


def save_remembered(home: Path, remembered: Remembered) -> None:
    """Writes it in one step, before anything is sent."""
    fresh = home / f".{FILE_NAME}.new"
    fresh.write_text(json.dumps(asdict(remembered), indent=2) + "\n", "utf-8")
    fresh.replace(home / FILE_NAME)


def same_demo(before: Remembered | None, day: str, customers: int, rows: int) -> Remembered:
    """The demo that a run on this home makes: the remembered one, with more rows where asked for.

    Raises SetupError where the home has a demo with other customers: the figures of the two would
    mix.
    """
    if before is None:
        return Remembered(day, customers, rows)
    if (before.customers, before.seed) != (customers, SEED):
        raise SetupError(
            f"this home holds a demo with {before.customers} customers (seed {before.seed})",
            action=f"Use --customers {before.customers}, or a new home directory: --home DIR.",
        )
    return Remembered(before.day, customers, max(before.rows, rows))
