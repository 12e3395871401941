"""The msgspec twin of every record: the same fields, made for speed.

The Pydantic models are the contract; this module builds a frozen Struct from each model's own
fields when it is loaded, so there is one definition and nothing to keep in step. Type checkers are
shown the model, whose fields and keyword constructor are the same. What a Struct does not check
(`AfterValidator`s: the bytes of an id, the calendar, twelve decimals) `schemas.codec` and
`streams.domain.facts` do with the very functions the models use.
"""

from typing import TYPE_CHECKING

from schemas import (
    answer,
    attribution,
    budget,
    catalog,
    catalogue,
    deadletter,
    entry,
    invoice,
    owner,
    preflight,
    restoration,
    signal,
    transfer,
    unassigned,
    usage,
)
from schemas.twins import Row, Value, column, struct_of
from schemas.twins import replace as replace

if TYPE_CHECKING:
    from schemas.answer import (
        AnsweredChange,
        AnsweredPreflight,
        AnsweredProblem,
        AsOf,
        TaskAnswered,
    )
    from schemas.attribution import Attribution
    from schemas.budget import Adjustment, Ceiling, Discard, Grant, Limit, Payer, Replay, Void
    from schemas.catalog import (
        ApiKey,
        CardDiscount,
        CardFee,
        CardItem,
        CardTiers,
        Generation,
        ModelPrices,
        PlanGrant,
        PriceBook,
        PriceOverride,
        PriceSpan,
        PriceVariant,
        QuantityPrice,
        Rate,
        RateCard,
        RatePlan,
        Rules,
        SellerPlan,
        TierStep,
    )
    from schemas.catalogue import CatalogueItem
    from schemas.deadletter import DeadLetter
    from schemas.entry import (
        AdjustmentEntry,
        Burn,
        CeilingEntry,
        ClosingEntry,
        Consumed,
        CycleEntry,
        DecisionEntry,
        ExtensionEntry,
        GrantEntry,
        HoldPart,
        LimitEntry,
        ResolutionEntry,
        Return,
        SettlementEntry,
        SignalEntry,
        UsageEntry,
        VoidEntry,
    )
    from schemas.invoice import (
        Credit,
        CreditEntry,
        InvoiceClose,
        InvoiceCloseEntry,
        InvoiceIssue,
        InvoiceIssueEntry,
        InvoiceLine,
        InvoiceTotal,
        InvoiceVoid,
        InvoiceVoidEntry,
        Segment,
        Terms,
        TermsEntry,
    )
    from schemas.owner import Owner
    from schemas.preflight import Expiry, Extension, Lease, Preflight, Release, Tick
    from schemas.restoration import Restoration
    from schemas.signal import Signal
    from schemas.transfer import HoldEnd, TaskPart, Transfer
    from schemas.unassigned import Unassigned
    from schemas.usage import Tokens, Usage
else:
    Adjustment = struct_of(budget.Adjustment)
    AdjustmentEntry = struct_of(entry.AdjustmentEntry)
    AnsweredChange = struct_of(answer.AnsweredChange)
    AnsweredPreflight = struct_of(answer.AnsweredPreflight)
    AnsweredProblem = struct_of(answer.AnsweredProblem)
    ApiKey = struct_of(catalog.ApiKey)
    AsOf = struct_of(answer.AsOf)
    Attribution = struct_of(attribution.Attribution)
    Burn = struct_of(entry.Burn)
    CardDiscount = struct_of(catalog.CardDiscount)
    CardFee = struct_of(catalog.CardFee)
    CardItem = struct_of(catalog.CardItem)
    CardTiers = struct_of(catalog.CardTiers)
    CatalogueItem = struct_of(catalogue.CatalogueItem)
    Ceiling = struct_of(budget.Ceiling)
    CeilingEntry = struct_of(entry.CeilingEntry)
    ClosingEntry = struct_of(entry.ClosingEntry)
    Consumed = struct_of(entry.Consumed)
    Credit = struct_of(invoice.Credit)
    CreditEntry = struct_of(invoice.CreditEntry)
    CycleEntry = struct_of(entry.CycleEntry)
    DeadLetter = struct_of(deadletter.DeadLetter)
    DecisionEntry = struct_of(entry.DecisionEntry)
    Discard = struct_of(budget.Discard)
    Expiry = struct_of(preflight.Expiry)
    Extension = struct_of(preflight.Extension)
    ExtensionEntry = struct_of(entry.ExtensionEntry)
    Generation = struct_of(catalog.Generation)
    Grant = struct_of(budget.Grant)
    GrantEntry = struct_of(entry.GrantEntry)
    HoldEnd = struct_of(transfer.HoldEnd)
    HoldPart = struct_of(entry.HoldPart)
    InvoiceClose = struct_of(invoice.InvoiceClose)
    InvoiceCloseEntry = struct_of(invoice.InvoiceCloseEntry)
    InvoiceIssue = struct_of(invoice.InvoiceIssue)
    InvoiceIssueEntry = struct_of(invoice.InvoiceIssueEntry)
    InvoiceLine = struct_of(invoice.InvoiceLine)
    InvoiceTotal = struct_of(invoice.InvoiceTotal)
    InvoiceVoid = struct_of(invoice.InvoiceVoid)
    InvoiceVoidEntry = struct_of(invoice.InvoiceVoidEntry)
    Lease = struct_of(preflight.Lease)
    Limit = struct_of(budget.Limit)
    LimitEntry = struct_of(entry.LimitEntry)
    ModelPrices = struct_of(catalog.ModelPrices)
    Owner = struct_of(owner.Owner)
    Payer = struct_of(budget.Payer)
    PlanGrant = struct_of(catalog.PlanGrant)
    Preflight = struct_of(preflight.Preflight)
    PriceBook = struct_of(catalog.PriceBook)
    PriceOverride = struct_of(catalog.PriceOverride)
    PriceSpan = struct_of(catalog.PriceSpan)
    PriceVariant = struct_of(catalog.PriceVariant)
    QuantityPrice = struct_of(catalog.QuantityPrice)
    Rate = struct_of(catalog.Rate)
    RateCard = struct_of(catalog.RateCard)
    RatePlan = struct_of(catalog.RatePlan)
    Release = struct_of(preflight.Release)
    Replay = struct_of(budget.Replay)
    ResolutionEntry = struct_of(entry.ResolutionEntry)
    Restoration = struct_of(restoration.Restoration)
    Return = struct_of(entry.Return)
    Rules = struct_of(catalog.Rules)
    Segment = struct_of(invoice.Segment)
    SellerPlan = struct_of(catalog.SellerPlan)
    SettlementEntry = struct_of(entry.SettlementEntry)
    Signal = struct_of(signal.Signal)
    SignalEntry = struct_of(entry.SignalEntry)
    TaskAnswered = struct_of(answer.TaskAnswered)
    TaskPart = struct_of(transfer.TaskPart)
    Terms = struct_of(invoice.Terms)
    TermsEntry = struct_of(invoice.TermsEntry)
    Tick = struct_of(preflight.Tick)
    TierStep = struct_of(catalog.TierStep)
    Tokens = struct_of(usage.Tokens)
    Transfer = struct_of(transfer.Transfer)
    Unassigned = struct_of(unassigned.Unassigned)
    Usage = struct_of(usage.Usage)
    UsageEntry = struct_of(entry.UsageEntry)
    Void = struct_of(budget.Void)
    VoidEntry = struct_of(entry.VoidEntry)

LedgerEntry = (
    CycleEntry
    | UsageEntry
    | AdjustmentEntry
    | VoidEntry
    | SignalEntry
    | GrantEntry
    | LimitEntry
    | CeilingEntry
    | DecisionEntry
    | ExtensionEntry
    | ClosingEntry
    | SettlementEntry
    | ResolutionEntry
    | TermsEntry
    | CreditEntry
    | InvoiceCloseEntry
    | InvoiceIssueEntry
    | InvoiceVoidEntry
)
"""Everything that stands in the ledger."""

CatalogRecord = (
    Rules | Generation | Restoration | PriceBook | PriceOverride | RateCard | RatePlan | ApiKey
)
"""Everything that stands in the catalog."""

BillingRecord = Terms | Credit | InvoiceClose | InvoiceIssue | InvoiceVoid
"""What stands in `budgets` about terms and invoices."""

BudgetRecord = Grant | Limit | Ceiling | Adjustment | Void | Replay | Discard | BillingRecord
"""Everything that stands in `budgets`."""

PreflightRecord = Lease | Preflight | Release | Extension | Expiry | Tick
"""Everything that stands in `preflights`."""

AnswerRecord = AnsweredPreflight | AnsweredChange | AnsweredProblem
"""Everything that stands in `answers`."""

InboundFact = Usage | Signal | BudgetRecord
"""Everything that a worker reads and decides."""

__all__ = [
    "Adjustment",
    "AdjustmentEntry",
    "AnswerRecord",
    "AnsweredChange",
    "AnsweredPreflight",
    "AnsweredProblem",
    "ApiKey",
    "AsOf",
    "Attribution",
    "BillingRecord",
    "BudgetRecord",
    "Burn",
    "CardDiscount",
    "CardFee",
    "CardItem",
    "CardTiers",
    "CatalogRecord",
    "CatalogueItem",
    "Ceiling",
    "CeilingEntry",
    "ClosingEntry",
    "Consumed",
    "Credit",
    "CreditEntry",
    "CycleEntry",
    "DeadLetter",
    "DecisionEntry",
    "Discard",
    "Expiry",
    "Extension",
    "ExtensionEntry",
    "Generation",
    "Grant",
    "GrantEntry",
    "HoldEnd",
    "HoldPart",
    "InboundFact",
    "InvoiceClose",
    "InvoiceCloseEntry",
    "InvoiceIssue",
    "InvoiceIssueEntry",
    "InvoiceLine",
    "InvoiceTotal",
    "InvoiceVoid",
    "InvoiceVoidEntry",
    "Lease",
    "LedgerEntry",
    "Limit",
    "LimitEntry",
    "ModelPrices",
    "Owner",
    "Payer",
    "PlanGrant",
    "Preflight",
    "PreflightRecord",
    "PriceBook",
    "PriceOverride",
    "PriceSpan",
    "PriceVariant",
    "QuantityPrice",
    "Rate",
    "RateCard",
    "RatePlan",
    "Release",
    "Replay",
    "ResolutionEntry",
    "Restoration",
    "Return",
    "Row",
    "Rules",
    "Segment",
    "SellerPlan",
    "SettlementEntry",
    "Signal",
    "SignalEntry",
    "TaskAnswered",
    "TaskPart",
    "Terms",
    "TermsEntry",
    "Tick",
    "TierStep",
    "Tokens",
    "Transfer",
    "Unassigned",
    "Usage",
    "UsageEntry",
    "Value",
    "Void",
    "VoidEntry",
    "column",
    "struct_of",
]
