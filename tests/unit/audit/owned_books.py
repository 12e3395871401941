"""The books that an owner and its cycles wrote in memory, to be audited whole or spoilt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from schemas import codec
from schemas.structs import Preflight
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    INBOUND,
    LEDGER,
    PREFLIGHTS,
)
from streams.adapters.memory_books import DictImage, ListBook
from streams.audit.replay import PartitionBooks, Scope, audit_partition
from streams.audit.report import PartitionReport
from streams.domain.context import Context
from streams.domain.facts import SourceRecord
from tests.owned import PARTITION, Shared


@dataclass
class OwnedBooks:
    """All books of the partition, and the contexts by catalog offset."""

    contexts: dict[int, Context]
    records: dict[str, list[SourceRecord]] = field(default_factory=dict)

    @classmethod
    def of(cls, shared: Shared, *contexts: Context) -> "OwnedBooks":
        """What lies in the logs now."""
        made = cls({context.catalog_offset: context for context in contexts})
        topics = shared.broker.topics
        for topic in (LEDGER, ATTRIBUTIONS, DEAD_LETTERS, CLAIMS_CHANGELOG, ACCOUNTS_CHANGELOG):
            made.records[topic.name] = [
                SourceRecord(topic.name, offset, shared.topic.now_us, key, value)
                for offset, (key, value) in enumerate(topics[topic.name, PARTITION])
            ]
        for inbound in INBOUND:
            made.records[inbound.name] = list(shared.inbound[inbound.name])
        made.records[PREFLIGHTS.name] = list(shared.topic.records[PARTITION])
        return made

    def context(self, offset: int) -> Context:
        """The context at a catalog offset."""
        if offset not in self.contexts:
            raise ValueError(f"the catalog ends before offset {offset}")
        return self.contexts[offset]

    @property
    def preflights(self) -> list[SourceRecord]:
        """The topic of the owner's records."""
        return self.records[PREFLIGHTS.name]

    def decisions(self) -> list[tuple[int, Preflight]]:
        """The decisions with their offsets."""
        bodies = [(r.offset, codec.decode_preflights(r.value)) for r in self.preflights]
        return [(offset, body) for offset, body in bodies if isinstance(body, Preflight)]

    def offset_of(self, key: str) -> int:
        """Where the decision of an idempotency key lies."""
        return next(at for at, body in self.decisions() if body.idempotency_key == key)

    def rewrite(self, offset: int, change: Callable[[dict[str, Any]], Any]) -> None:
        """Replaces a record of the owner by one with other fields, written as Tollgate writes."""
        found = self.preflights[offset]
        fields = codec.to_plain(codec.decode_preflights(found.value))
        change(fields)
        body = codec.decode_preflights(codec.encode(fields))
        self.preflights[offset] = replace(found, value=codec.encode(body))

    def audit(
        self, scope: Scope | None = None, *, from_offset: int = 0, image: bool = True
    ) -> PartitionReport:
        """Audits what there is; `preflights` may begin later."""
        books = {topic: ListBook(records) for topic, records in self.records.items()}
        kept = [r for r in self.preflights if r.offset >= from_offset]
        books[PREFLIGHTS.name] = ListBook(kept, start=from_offset)
        accounts = {r.key or b"": r.value or b"" for r in self.records[ACCOUNTS_CHANGELOG.name]}
        images: Sequence[DictImage] = [DictImage("changelog", accounts)] if image else []
        return audit_partition(PartitionBooks(PARTITION, books), self.context, images, scope)
