"""The mapping file: which columns of a provider's export mean what.

Small YAML or JSON, every value a text or a list of texts, so that no amount in it ever is a float.
Owns the file's form and its faults; reading the export by it is `exports`.
"""

import json
import re
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from schemas.money import fraction_of
from schemas.times import MICROSECONDS, parse_time_us
from streams.errors import SetupError

FORMAT: Final = "tollgate-reconcile/1"

MAPPING_BYTES_MAX: Final = 100_000
"""A mapping is some ten lines; more than this is another file given by mistake."""

ALL_MODELS: Final = "(all models)"
"""The model of a day's sum where an export does not tell models apart."""

TokenClass = Literal[
    "input",
    "cache_read",
    "cache_write",
    "output",
    "reasoning",
    "input_audio",
    "output_audio",
]
Column = Annotated[str, Field(min_length=1)]


def _amount(text: str) -> str:
    if fraction_of(text) < 0:
        raise ValueError("must not be negative")
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, KeyError, ValueError) as fault:
        raise ValueError(f"no time zone of this name: {name!r}") from fault
    return name


def _pattern(text: str) -> str:
    try:
        found = re.compile(text)
    except re.error as fault:
        raise ValueError(f"not a regular expression: {fault}") from fault
    if "model" not in found.groupindex:
        raise ValueError("needs a group (?P<model>…)")
    return text


Decimal = Annotated[str, AfterValidator(_amount)]
Zone = Annotated[str, AfterValidator(_zone)]


class _Part(BaseModel):
    """A part of a mapping: no key that is not known, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DayColumn(_Part):
    """When it was used. `format`: `date` (2026-10-31), `rfc3339`, `unix_seconds`, or a pattern of
    strptime such as `%d/%m/%Y`. A time becomes a day in the mapping's zone, a day stays one."""

    column: Column
    format: str = "date"

    @model_validator(mode="after")
    def _known(self) -> "DayColumn":
        if self.format not in ("date", "rfc3339", "unix_seconds") and "%" not in self.format:
            raise ValueError("format must be date, rfc3339, unix_seconds or a pattern with %")
        return self


class ModelColumn(_Part):
    """Which model, and how its name becomes the one that the ledger knows.

    In this order: `pattern` takes the group `model` (and `class`, see TokenClassColumn) out of the
    text; a text that it does not match is taken whole. Then `lower`, `replace` (pairs of texts),
    `aliases`. With `family`, the price book's matching turns names of both sides into the model
    that they mean, so that a dated snapshot meets its family. `empty` is the name of rows without
    one; without it such a row is bad."""

    column: Column
    pattern: Annotated[str, AfterValidator(_pattern)] | None = None
    lower: bool = False
    replace: list[tuple[str, str]] = []
    aliases: dict[str, str] = {}
    family: bool = True
    empty: str = ""


class AmountColumn(_Part):
    """What it cost. `unit` is what 1 is worth in the currency (`0.01`: cents). `rounded_to`: each
    amount was rounded to a multiple of it, so half of it per row may be missing or too much.
    A row whose amount is empty is passed over, and counted, with `empty: skip`; else it is bad."""

    column: Column
    unit: Decimal = "1"
    rounded_to: Decimal = "0"
    empty: Literal["skip", "bad"] = "bad"


class CurrencyColumn(_Part):
    """In which currency: the column's text, in any case, or `value` for all rows."""

    column: Column | None = None
    value: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None

    @model_validator(mode="after")
    def _one(self) -> "CurrencyColumn":
        if (self.column is None) == (self.value is None):
            raise ValueError("needs either column or value")
        return self


class TokenClassColumn(_Part):
    """What of the call a row is about, where each class has rows of its own. `column` None: the
    group `class` of the model's pattern. `classes` maps its texts; others count as no class."""

    column: Column | None = None
    classes: dict[str, TokenClass]


class Filter(_Part):
    """Rows that are compared: whose column is one of `is`, and none of `not`."""

    column: Column
    is_: list[str] | None = Field(default=None, alias="is")
    not_: list[str] = Field(default=[], alias="not")

    def takes(self, text: str) -> bool:
        """Whether a row with this text is compared."""
        return (self.is_ is None or text in self.is_) and text not in self.not_


class Mapping(_Part):
    """A mapping file.

    `providers` are ids of the price book (or the ledger's own names): usage of others is not
    compared. `zone` is that of the export's days. `tolerance` is what a day and model may differ
    by, in the currency. `tokens` names the columns of token counts by class, each added up;
    `calls` the column with the number of calls. `model` None: the export knows no models."""

    format: Literal["tollgate-reconcile/1"]
    title: str = ""
    sources: list[str] = []
    providers: Annotated[list[str], Field(min_length=1)]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    zone: Zone = "UTC"
    tolerance: Decimal = "0.000001"
    day: DayColumn
    model: ModelColumn | None = None
    amount: AmountColumn
    currency: CurrencyColumn
    tokens: dict[TokenClass, list[Column]] = {}
    token_class: TokenClassColumn | None = None
    calls: Column | None = None
    filters: list[Filter] = []

    def columns(self) -> list[str]:
        """All columns that must be there, each once."""
        named = [self.day.column, self.amount.column, self.calls, self.currency.column]
        named += [self.model.column] if self.model else []
        named += [self.token_class.column] if self.token_class else []
        named += [column for columns in self.tokens.values() for column in columns]
        named += [one.column for one in self.filters]
        return list(dict.fromkeys(name for name in named if name is not None))


def day_of(text: str, form: str, zone: ZoneInfo) -> date:
    """The day that a text means. Raises ValueError where it means none."""
    match form:
        case "date":
            return date.fromisoformat(text)
        case "unix_seconds":
            return datetime.fromtimestamp(int(text), zone).date()
        case "rfc3339":
            return datetime.fromtimestamp(parse_time_us(text) // MICROSECONDS, zone).date()
    moment = datetime.strptime(text, form)  # noqa: DTZ007 - a day without a zone is the zone's day
    return (moment.astimezone(zone) if moment.tzinfo else moment).date()


def read_mapping(path: Path) -> Mapping:
    """The mapping in a file, JSON where its name ends so, else YAML. Raises SetupError that names
    every fault."""
    try:
        content = path.read_bytes()
        if len(content) > MAPPING_BYTES_MAX:
            raise ValueError(f"it has {len(content):,} bytes, more than any mapping")
        return Mapping.model_validate(_plain(content.decode(), is_json=path.suffix == ".json"))
    except ValidationError as fault:
        faults = "\n".join(
            f"- {'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in fault.errors()
        )
        raise _unusable(path, f"\n{faults}") from fault
    except (OSError, ValueError, yaml.YAMLError) as fault:
        raise _unusable(path, f" {fault}") from fault


def _plain(text: str, *, is_json: bool) -> Any:
    if is_json:
        return json.loads(text, parse_float=str, parse_int=str)
    # The base loader leaves every scalar the text that it is: 0.01 stays exact.
    return yaml.load(text, yaml.BaseLoader)  # noqa: S506 - makes texts, lists and mappings alone


def _unusable(path: Path, fault: str) -> SetupError:
    return SetupError(
        f"the mapping {path} cannot be used:{fault}",
        action="Mend the file; docs/reconciliation.md lists what a mapping says.",
    )
