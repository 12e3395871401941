"""How rate cards are printed: a card as tables that a person reads, differences, lists."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from schemas.codec import to_plain
from schemas.money import currency_digits, format_amount, round_half_even
from schemas.structs import CardItem, RateCard, RatePlan
from schemas.times import format_time
from streams.app.rate_files import FileFault
from streams.app.rate_preview import Previewed, sums
from streams.app.rates import PlannedVersion, RateRecord
from streams.cli.tables import console, table
from streams.domain.rate_cards import RateShelf
from streams.papers.bill import money
from streams.papers.rows import cell_text

MARKS: Final = {True: "in force", False: ""}


def print_faults(faults: Iterable[FileFault]) -> None:
    """One line for each: `file:line:column: path: message`, as compilers write them."""
    for fault in faults:
        click.echo(str(fault))


def fault_dict(fault: FileFault) -> dict[str, Any]:
    """A fault for a script."""
    return {
        "file": fault.file,
        "line": fault.line,
        "column": fault.column,
        "path": fault.path,
        "message": fault.message,
    }


def since(record: RateRecord) -> str:
    """From when on a version is in force, for a person."""
    return f"from {_begins(record)}"


def _begins(record: RateRecord) -> str:
    return _time_or_none(record.effective_from) or "ever"


def name_of(record: RateRecord) -> str:
    """`rate card pro@2`, `plan team@1`."""
    what = "rate card" if isinstance(record, RateCard) else "plan"
    return f"{what} {record.id}@{record.version}"


# --- apply --------------------------------------------------------------------------------------


def print_planned(planned: PlannedVersion) -> None:
    """What becomes of one document."""
    record = planned.record
    if not planned.is_new:
        click.echo(f"unchanged  {name_of(record)}")
        return
    before = planned.before
    after = "" if before is None else f", against {before.id}@{before.version}"
    click.echo(f"new        {name_of(record)}  {since(record)}{after}")
    if before is None and isinstance(record, RatePlan):
        click.echo(f"  points to {record.card}")
    for one in planned.differences:
        if one.before is None and one.after is None:
            click.echo(f"  ~ {one.path}")
        elif one.before is None:
            click.echo(f"  + {one.path}: {one.after}")
        elif one.after is None:
            click.echo(f"  - {one.path}: {one.before}")
        else:
            click.echo(f"  ~ {one.path}: {one.before} -> {one.after}")


def planned_dict(planned: PlannedVersion, *, appended: bool) -> dict[str, Any]:
    """What became of one document, for a script."""
    record = planned.record
    return {
        "kind": "rate_card" if isinstance(record, RateCard) else "rate_plan",
        "id": record.id,
        "version": record.version,
        "effective_from": _time_or_none(record.effective_from),
        "new": planned.is_new,
        "appended": appended and planned.is_new,
        "backdated": planned.backdated,
        "against": None if planned.before is None else planned.before.version,
        "differences": [
            {"path": one.path, "before": one.before, "after": one.after}
            for one in planned.differences
        ],
    }


def _time_or_none(time_us: int | None) -> str | None:
    return None if time_us is None else format_time(time_us)


# --- show ---------------------------------------------------------------------------------------


def record_dict(shelf: RateShelf, record: RateRecord, at_us: int) -> dict[str, Any]:
    """A version for a script, as a file says it, with its version and whether it is in force."""
    plain = to_plain(record)
    plain["effective_from"] = _time_or_none(record.effective_from)
    return {**plain, "in_force": _is_in_force(shelf, record, at_us)}


def _is_in_force(shelf: RateShelf, record: RateRecord, at_us: int) -> bool:
    if isinstance(record, RateCard):
        return shelf.card_in_force(record.id, at_us) is record
    return shelf.plan_in_force(record.id, at_us) is record


def print_cards(shelf: RateShelf, at_us: int) -> None:
    """All versions of all cards, by card."""
    records = sorted(shelf.card_records, key=lambda one: one.id)
    cells = [
        [
            one.id,
            one.version,
            MARKS[_is_in_force(shelf, one, at_us)],
            _begins(one),
            one.currency,
            str(len(one.items)),
            one.title,
        ]
        for one in records
    ]
    titles = ("card", "version", "", "effective from", "currency", "items", "title")
    if cells:
        console().print(table([(title, title == "items") for title in titles], cells))
    click.echo(f"{len(cells):,} versions of rate cards")


def print_plans(shelf: RateShelf, at_us: int) -> None:
    """All versions of all plans, by plan."""
    records = sorted(shelf.plan_records, key=lambda one: one.id)
    cells = [
        [one.id, one.version, MARKS[_is_in_force(shelf, one, at_us)], _begins(one), one.card]
        for one in records
    ]
    if cells:
        titles = ("plan", "version", "", "effective from", "card")
        console().print(table([(title, False) for title in titles], cells))
    click.echo(f"{len(cells):,} versions of plans")


def print_card(card: RateCard, in_force: bool) -> None:
    """A card as whoever negotiates it reads it."""
    out = console()
    state = ", in force" if in_force else ""
    out.print(f"{card.id}@{card.version}  {card.title}".rstrip())
    out.print(f"{card.currency}, {since(card)}{state}")
    if card.fees:
        rows = [[fee.title or fee.id, fee.amount] for fee in card.fees]
        out.print(table([("fee per period", False), ("amount", True)], rows))
    if card.items:
        rows = [cells for item in card.items for cells in _item_cells(item)]
        titles = ("item", "counts", "of", "each", "included", "quantity", "price", "flat")
        right = {"included", "price", "flat"}
        out.print(table([(title, title in right) for title in titles], rows))
    if card.discounts:
        rows = [
            [one.title or one.id, f"{one.percent} %", ", ".join(one.items) or "all items"]
            for one in card.discounts
        ]
        out.print(table([("discount", False), ("off", True), ("of", False)], rows))
    if card.minimum is not None:
        out.print(f"minimum per period: {card.minimum} {card.currency}")


def _item_cells(item: CardItem) -> list[list[str]]:
    """The rows of an item: one, or one for each step of its tiers."""
    filters = [
        f"{name} {value}"
        for name in ("provider", "model", "agent", "signal")
        if (value := getattr(item, name)) is not None
    ]
    included = f"{item.included:,}" if item.included else ""
    head = [item.title or item.id, item.metric.replace("_", " "), ", ".join(filters) or "any"]
    head += [item.group_by, included]
    if item.metric == "cost":
        return [[*head, "", f"cost + {item.markup_percent or '0'} %", ""]]
    if item.tiers is None:
        return [[*head, "", _price(item.price or "0", item.per), ""]]
    quantities = _quantities([step.up_to for step in item.tiers.steps])
    rows = []
    for step, quantity in zip(item.tiers.steps, quantities, strict=True):
        flat = step.flat if step.flat != "0" else ""
        rows.append([*head, quantity, _price(step.price, item.per), flat])
        head = [""] * len(head)
    rows[0][5] += f" ({item.tiers.mode})"
    return rows


def _quantities(ends: Sequence[int | None]) -> list[str]:
    texts, before = [], 0
    for end in ends:
        texts.append(f"{before + 1:,} to {end:,}" if end is not None else f"{before + 1:,} on")
        before = end or before
    return texts


def _price(price: str, per: int) -> str:
    return price if per == 1 else f"{price} / {per:,}"


# --- preview ------------------------------------------------------------------------------------


def preview_dict(row: Previewed) -> dict[str, str]:
    """A customer of a preview for a script: exact decimal texts."""
    return {
        "customer_id": row.customer_id,
        "currency": row.currency,
        "old": format_amount(row.old_pico),
        "new": format_amount(row.new_pico),
        "difference": format_amount(row.difference_pico),
    }


def preview_csv(rows: Sequence[Previewed]) -> str:
    """A preview for a spreadsheet."""
    target = io.StringIO()
    writer = csv.DictWriter(
        target, ("customer_id", "currency", "old", "new", "difference"), lineterminator="\r\n"
    )
    writer.writeheader()
    for row in rows:
        writer.writerow({name: cell_text(text) for name, text in preview_dict(row).items()})
    return target.getvalue()


def print_preview(rows: Sequence[Previewed]) -> None:
    """A preview for a person: each customer, and the sum of each currency."""
    for currency in dict.fromkeys(row.currency for row in rows):
        own = [row for row in rows if row.currency == currency]
        cells = [_preview_cells(row.customer_id, row) for row in own]
        cells += [_preview_cells("all", row) for row in sums(own)]
        titles = ("customer", f"as it is, {currency}", "with the files", "difference", "")
        columns = [(title, at > 0) for at, title in enumerate(titles)]
        console().print(table(columns, cells, total=True))
    changed = sum(row.difference_pico != 0 for row in rows)
    click.echo(f"{changed:,} of {len(rows):,} would change")


def _preview_cells(name: str, row: Previewed) -> list[str]:
    digits = currency_digits(row.currency)
    sign = "+" if row.difference_pico > 0 else ""
    share = ""
    if row.old_pico > 0 and row.difference_pico:
        tenths = round_half_even(1000 * row.difference_pico, row.old_pico)
        share = f"{sign}{'-' if tenths < 0 else ''}{abs(tenths) // 10:,}.{abs(tenths) % 10} %"
    return [
        name,
        money(row.old_pico, digits),
        money(row.new_pico, digits),
        sign + money(row.difference_pico, digits),
        share,
    ]
