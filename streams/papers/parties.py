"""Who bills whom, as it stands on paper: names, addresses, tax numbers, terms of payment.

Given when a paper is made and kept nowhere: no part of the log, of the document or its digest (F4),
so that they can be corrected or erased at any time.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PARTIES_BYTES_MAX = 16 * 1024 * 1024
"""A file of parties: some 50,000 customers with their addresses."""

Words = Annotated[str, Field(min_length=1, max_length=512)]
Lines = Annotated[list[Words], Field(max_length=32)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Customer(_Part):
    """Whom a bill goes to. `reference` is what they want to read on it: an order number."""

    name: Words | None = None
    address: Lines = Field(default_factory=list)
    tax_id: Words | None = None
    email: Words | None = None
    reference: Words | None = None


class Seller(_Part):
    """Who bills. `payment` are lines that say how to pay, `payment_terms` the sentence about it,
    `due_days` the days from the issue to the day by which it is due, `tax_note` what is to be said
    of taxes: Tollgate computes none. `paper` fixes the page's size, else that of the printer."""

    name: Words | None = None
    address: Lines = Field(default_factory=list)
    tax_id: Words | None = None
    email: Words | None = None
    payment: Lines = Field(default_factory=list)
    payment_terms: Words | None = None
    due_days: Annotated[int, Field(ge=0, le=365)] | None = None
    tax_note: Words | None = None
    paper: Literal["A4", "Letter"] | None = None


class Parties(_Part):
    """The seller and the customers by id. All of it may be missing."""

    seller: Seller = Field(default_factory=Seller)
    customers: dict[str, Customer] = Field(default_factory=dict)

    def customer(self, customer_id: str) -> Customer:
        """What is known of a customer; nothing but the id where it is not listed."""
        return self.customers.get(customer_id, Customer())


def parties_of(plain: Mapping[str, Any]) -> Parties:
    """The parties of a parsed file.

    Raises ValueError that names every field which is wrong, one per line.
    """
    try:
        return Parties.model_validate(plain)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or 'the file'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise ValueError("\n".join(faults)) from None
