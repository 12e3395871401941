"""Catalogue items, version 1: the vendor's customers, products and orders as Paid's clients keep
them. Topic `paid-catalogue`, one partition, compacted, keyed by `family/id`.

An item is written whole and the last record of a key is how it stands. No decision looks at it and
no amount is in it: it says which account of the ledger `cus_…` means and which agent `prod_…`.
Names and addresses are personal; the topic is compacted so that they can be erased (F4).
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.envelope import Id, Name, Record, TimeUs

Family = Literal["customer", "product", "order"]


class CatalogueItem(Record):
    """One customer, product or order."""

    family: Family
    id: Name
    """`cus_…`, `prod_…`, `ord_…`: given once."""
    external_id: Id | None = None
    """The vendor's own id, given with the item and never changed: of a customer the account in the
    ledger, of a product the agent."""
    version: Annotated[int, Field(ge=1)]
    """Counts the changes."""
    created_at: TimeUs
    updated_at: TimeUs
    deleted: bool = False
    """Erased: `fields` is empty, the ids still mean what they meant."""
    number: Annotated[int, Field(ge=0)] = 0
    """Of an order: the one that people see."""
    fields: dict[str, Any] = {}
    """What else the client said, under the names of Paid's API."""
