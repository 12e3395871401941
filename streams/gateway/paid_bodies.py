"""What Paid's clients send, as `/openapi.json` shows it.

Names, required fields and types are those that paid-python 1.12.0 checks. Unknown fields are passed
over, null is as good as missing.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from schemas.envelope import Id
from streams.gateway.agentbill_bodies import Account
from streams.gateway.bodies import parse_object
from streams.gateway.decimals import DollarNumber, Whole
from streams.gateway.problems import ProblemError

TEXT_CHARS_MAX = 1_024
"""A name, an address or a description; the body of a request bounds them all together."""


def _is_iso_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Text = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]
Title = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]
Moment = Annotated[str, Field(max_length=64), AfterValidator(_is_iso_time)]
"""An ISO 8601 date or time, kept as it was said."""
CurrencyCode = Annotated[str, Field(pattern=r"^[A-Za-z]{3}$")]
State = Literal["draft", "active"]


class Sent(BaseModel):
    """Base of what a client sends."""

    model_config = ConfigDict(
        strict=True,
        extra="ignore",
        frozen=True,
        arbitrary_types_allowed=True,
        alias_generator=to_camel,
        use_attribute_docstrings=True,
    )


class Address(Sent):
    """Where a customer is billed."""

    line1: Text | None = None
    line2: Text | None = None
    city: Text | None = None
    state: Text | None = None
    zip_code: Text | None = None
    country: Text | None = None


class CustomerChange(Sent):
    """What may be said of a customer at any time."""

    name: Title | None = None
    legal_name: Text | None = None
    email: Text | None = None
    phone: Text | None = None
    website: Text | None = None
    external_id: Account | None = None
    """Given with the customer and never changed: the account in the ledger."""
    billing_address: Address | None = None
    creation_state: State | None = None
    churn_date: Moment | None = None
    vat_number: Text | None = None
    metadata: dict[str, Any] | None = None


class CustomerBody(CustomerChange):
    """A new customer."""

    name: Title
    default_currency: CurrencyCode | None = None


class ProductChange(Sent):
    """What may be said of a product at any time."""

    name: Title | None = None
    description: Text | None = None
    active: bool | None = None
    product_code: Text | None = None
    external_id: Id | None = None
    """Given with the product and never changed: the agent in the ledger."""
    metadata: dict[str, Any] | None = None


class ProductBody(ProductChange):
    """A new product."""

    name: Title


class LineBody(Sent):
    """A product in an order."""

    product_id: Id
    name: Text | None = None
    description: Text | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None


class OrderChange(Sent):
    """What may be said of an order at any time."""

    name: Text | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None
    subscription_terms: Annotated[int, Field(ge=0, le=1_200)] | None = None
    creation_state: State | None = None
    payment_terms: Text | None = None
    external_id: Id | None = None
    billing_customer_id: Id | None = None
    billing_contact_ids: Annotated[list[Id], Field(max_length=100)] | None = None
    metadata: dict[str, Any] | None = None
    auto_post_invoices: bool | None = None
    auto_send_billing_emails: bool | None = None
    auto_send_payment_emails: bool | None = None
    purchase_order_reference: Text | None = None


class OrderBody(OrderChange):
    """A new order."""

    customer_id: Id
    currency: CurrencyCode | None = None
    lines: Annotated[list[LineBody], Field(max_length=100)] | None = None


class Who(Sent):
    """A customer by Paid's id or by the vendor's own."""

    customer_id: Id | None = None
    external_customer_id: Account | None = None


class What(Sent):
    """A product by Paid's id or by the vendor's own."""

    product_id: Id | None = None
    external_product_id: Id | None = None


class Unit(Sent):
    """A part of the customer, kept beside the record."""

    external_customer_unit_id: Text | None = None


class Money(Sent):
    """An amount as these clients send it: a JSON number, read digit by digit."""

    amount: DollarNumber
    currency: CurrencyCode = "USD"


class SignalBody(Sent):
    """An outcome. `data.costData` is a cost of its own, `data.paid` how costs are attributed."""

    event_name: Annotated[str, Field(min_length=1, max_length=128)]
    customer: Who
    customer_unit: Unit | None = None
    attribution: What | None = None
    timestamp: Moment | None = None
    content: dict[str, Any] | None = Field(default=None, alias="data")
    idempotency_key: str | None = None


class SignalsBody(Sent):
    """Several outcomes; each is taken or counted as failed on its own."""

    signals: Annotated[list[SignalBody], Field(min_length=1, max_length=1_000)]


class EarlierSignal(BaseModel):
    """An outcome as clients before 1.0 send it."""

    event_name: Annotated[str, Field(min_length=1, max_length=128)]
    customer_id: Id | None = None
    """The vendor's own id, except beside a product: then Paid's."""
    external_customer_id: Account | None = None
    internal_customer_id: Id | None = None
    product_id: Id | None = None
    external_product_id: Id | None = None
    agent_id: Id | None = None
    external_agent_id: Id | None = None
    content: dict[str, Any] | None = Field(default=None, alias="data")
    idempotency_key: str | None = None


class EarlierSignalsBody(BaseModel):
    """Several of them; each is taken or counted as failed on its own."""

    signals: Annotated[list[EarlierSignal], Field(min_length=1, max_length=1_000)]


class TokenUsage(Sent):
    """Token counts. Input excludes what was read from or written to a cache."""

    input_tokens: Whole = 0
    output_tokens: Whole = 0
    cache_read_input_tokens: Whole = 0
    cache_creation_input_tokens: Whole = 0
    reasoning_output_tokens: Whole = 0


class CostBase(Sent):
    """What both kinds of cost have."""

    timestamp: Moment | None = None
    customer: Who
    product: What | None = None
    metadata: dict[str, Any] | None = None


class CostBody(CostBase):
    """A cost that is known."""

    type: Literal["cost"]
    amount: DollarNumber
    currency: CurrencyCode
    vendor: Text | None = None
    model: Text | None = None


class UsageBody(CostBase):
    """Tokens that the price book prices, unless `costOverride` says what they cost."""

    type: Literal["usage"]
    vendor: Text
    model: Text
    usage: TokenUsage
    cost_override: Money | None = None


class CostsBody(Sent):
    """Several costs: all are taken, or none where one of them is wrong."""

    costs: Annotated[
        list[Annotated[CostBody | UsageBody, Field(discriminator="type")]],
        Field(min_length=1, max_length=1_000),
    ]


S = TypeVar("S", bound=Sent)


def checked(model: type[S], sent: object) -> S:
    """A value as a model; null is as good as missing. Raises ProblemError `invalid_field`."""
    try:
        return model.model_validate(without_nulls(sent))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:TEXT_CHARS_MAX]
        raise ProblemError("invalid_field", f"{field}: {first['msg']}", field=field) from None


def without_nulls(value: object) -> object:
    """A JSON value whose objects have no null members, except inside free-form objects."""
    if isinstance(value, list):
        return [without_nulls(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        name: part if name in ("metadata", "data") else without_nulls(part)
        for name, part in value.items()
        if part is not None
    }


def read_fields(model: type[S], body: bytes) -> tuple[S, dict[str, Any]]:
    """A body as a model, and what it says of an item under the names of Paid's API.

    A null is kept in the fields: it takes back what was said before. Raises ProblemError.
    """
    sent = parse_object(body)
    read = checked(model, sent)
    fields = read.model_dump(by_alias=True, exclude_unset=True, mode="json")
    known = {field.alias for field in model.model_fields.values()}
    taken_back = {name: None for name, part in sent.items() if part is None and name in known}
    return read, taken_back | fields
