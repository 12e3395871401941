"""What Paid's clients are answered, as `/openapi.json` shows it: the fields that paid-python 1.12.0
requires, and those that it reads."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from streams.gateway.agentbill_bodies import Number
from streams.gateway.paid_bodies import State


class Answer(BaseModel):
    """Base of what a client is answered."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, use_attribute_docstrings=True)


class Pagination(Answer):
    """Where a page stands in its list."""

    limit: int
    offset: int
    total: int
    has_more: bool


class CustomerTold(Answer):
    """A customer."""

    id: str
    name: str
    legal_name: str | None
    email: str
    phone: str
    website: str
    external_id: str | None
    billing_address: dict[str, Any] | None
    creation_state: State
    status: Literal["active", "churned"]
    churn_date: str | None
    vat_number: str | None
    metadata: dict[str, Any] | None
    default_currency: str
    connections: dict[str, Any]
    created_at: str
    updated_at: str


class CustomersTold(Answer):
    """A page of customers."""

    rows: list[CustomerTold] = Field(alias="data")
    pagination: Pagination


class ProductTold(Answer):
    """A product. Tollgate prices nothing by product, so `productAttributes` is empty."""

    id: str
    name: str
    description: str | None
    created_at: str
    updated_at: str
    active: bool
    product_code: str | None
    external_id: str | None
    archived_at: str | None
    metadata: dict[str, Any] | None
    product_attributes: list[dict[str, Any]]


class ProductsTold(Answer):
    """A page of products."""

    rows: list[ProductTold] = Field(alias="data")
    pagination: Pagination


class OrderTold(Answer):
    """An order. Invoices are drafted from the ledger, so its amounts are 0."""

    id: str
    customer_id: str
    billing_customer_id: str | None
    billing_contact_ids: list[str]
    created_at: str
    updated_at: str
    end_date: str | None
    name: str
    start_date: str
    subscription_terms: int | None
    billed_amount_no_tax: int
    billed_tax: int
    estimated_tax: int
    order_amount: int
    pending_billing_amount: int
    total_amount: int
    total_billed_amount: int
    creation_state: State
    payment_terms: str | None
    number: int
    metadata: dict[str, Any] | None
    version: int
    billing_frequency_overridden: bool


class OrdersTold(Answer):
    """A page of orders."""

    rows: list[OrderTold] = Field(alias="data")
    pagination: Pagination


class LineTold(Answer):
    """A product in an order."""

    id: str
    product_id: str
    name: str
    description: str | None
    start_date: str
    end_date: str | None
    line_type: Literal["STANDARD"]


class LinesTold(Answer):
    """The products of an order."""

    rows: list[LineTold] = Field(alias="data")
    pagination: Pagination


class CreditBalanceTold(Answer):
    """What a customer has left in one denomination, by its grants."""

    credits_currency_id: str
    currency_name: str
    currency_key: str
    available: Number
    used: Number
    total: Number
    recipient: Literal["organization"]
    grants: list[dict[str, Any]]


class CreditBalancesTold(Answer):
    """All denominations in which a customer was granted something."""

    rows: list[CreditBalanceTold] = Field(alias="data")


class NothingTold(Answer):
    """It is done."""


class SignalsTold(Answer):
    """What became of signals. `duplicates` were known by their ids; `failed` name a customer that
    there is none of, or could not be taken."""

    ingested: int
    duplicates: int
    failed: int


class CostsTold(Answer):
    """What became of costs. `failed` were refused when their cycle took them."""

    ingested: int
    duplicates: int
    failed: int


class PaidErrorTold(Answer):
    """Why there is no answer."""

    error: str
    code: str
    details: str | None = None
