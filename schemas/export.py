"""Writes the JSON Schema of every record family into a directory, one file each.

    python -m schemas.export docs/schemas

Owns which models are a family of their own and what their file is called. The schemas describe the
JSON on the topics; what a schema cannot say (ids of at most 128 bytes, days that exist, several
fields together) the models and decision records say.
"""

import json
import sys
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from schemas import (
    answer,
    ask,
    attribution,
    budget,
    catalog,
    catalogue,
    deadletter,
    entry,
    invoice,
    owner,
    preflight,
    rates,
    restoration,
    signal,
    transfer,
    unassigned,
    usage,
)

FAMILIES: Final[dict[str, tuple[type[BaseModel], ...]]] = {
    "usage": (usage.Usage,),
    "signal": (signal.Signal,),
    "budget": (
        budget.Grant,
        budget.Limit,
        budget.Ceiling,
        budget.Adjustment,
        budget.Void,
        budget.Replay,
        budget.Discard,
        invoice.Terms,
        invoice.Credit,
        invoice.InvoiceClose,
        invoice.InvoiceIssue,
        invoice.InvoiceVoid,
    ),
    "preflight": (
        preflight.Lease,
        preflight.Preflight,
        preflight.Release,
        preflight.Extension,
        preflight.Expiry,
        preflight.Tick,
    ),
    "ask": (ask.AskedPreflight, ask.AskedRelease, ask.AskedExtension),
    "answer": (answer.AnsweredPreflight, answer.AnsweredChange, answer.AnsweredProblem),
    "owner": (owner.Owner,),
    "transfer": (transfer.Transfer,),
    "unassigned": (unassigned.Unassigned,),
    "catalog": (
        catalog.Rules,
        catalog.Generation,
        restoration.Restoration,
        catalog.PriceBook,
        catalog.PriceOverride,
        catalog.RateCard,
        catalog.RatePlan,
        catalog.ApiKey,
    ),
    "catalogue": (catalogue.CatalogueItem,),
    "entry": (
        entry.CycleEntry,
        entry.UsageEntry,
        entry.AdjustmentEntry,
        entry.VoidEntry,
        entry.SignalEntry,
        entry.GrantEntry,
        entry.LimitEntry,
        entry.CeilingEntry,
        entry.DecisionEntry,
        entry.ExtensionEntry,
        entry.ClosingEntry,
        entry.SettlementEntry,
        entry.ResolutionEntry,
        invoice.TermsEntry,
        invoice.CreditEntry,
        invoice.InvoiceCloseEntry,
        invoice.InvoiceIssueEntry,
        invoice.InvoiceVoidEntry,
    ),
    "attribution": (attribution.Attribution,),
    "deadletter": (deadletter.DeadLetter,),
}
"""File name, without ending, to the models whose records it describes."""

FILES: Final[dict[str, tuple[type[BaseModel], ...]]] = {
    "rates": (rates.RateCardFile, rates.RatePlanFile),
}
"""The same of files that people write: they say no version."""

EXPORTED: Final = FAMILIES | FILES

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema_text(name: str) -> str:
    """The JSON Schema of a family, as the text of its file: the same for the same models.

    A family of several kinds is a choice among them by their `kind`. Raises KeyError for no family.
    """
    models = EXPORTED[name]
    if len(models) == 1:
        schema = models[0].model_json_schema()
    else:
        _, schema = models_json_schema([(model, "validation") for model in models])
        one_of = [{"$ref": f"#/$defs/{model.__name__}"} for model in models]
        # Where a kind may be left out (its default is its name), the kind alone cannot choose.
        for model in models:
            required = schema["$defs"][model.__name__].setdefault("required", [])
            if "kind" not in required:
                required.append("kind")
        schema = {"title": name.capitalize(), "oneOf": one_of} | schema
    return json.dumps({"$schema": _DIALECT} | schema, indent=2, ensure_ascii=False) + "\n"


def export(directory: Path) -> list[Path]:
    """Writes all families into `directory` and removes schemas that belong to none any more."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name in EXPORTED:
        path = directory / f"{name}.json"
        path.write_text(schema_text(name), encoding="utf-8")
        written.append(path)
    for path in directory.glob("*.json"):
        if path.stem not in EXPORTED:
            path.unlink()
    return written


def main(arguments: list[str]) -> int:
    """The command: one argument, the directory. Returns the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m schemas.export DIRECTORY", file=sys.stderr)
        return 0 if arguments in (["--help"], ["-h"]) else 2
    for path in export(Path(arguments[0])):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
