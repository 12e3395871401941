"""Books in memory as a worker would have written them, to be audited whole or spoilt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from schemas import codec
from schemas.structs import Consumed
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    INBOUND,
    LEDGER,
)
from streams.adapters.memory_books import DictImage, ListBook
from streams.audit.books import Contexts
from streams.audit.replay import PartitionBooks, Scope, audit_partition
from streams.audit.report import PartitionReport
from streams.audit.transfers import Sent
from streams.domain.appends import SENT, cycle_appends
from streams.domain.context import Context
from streams.domain.decoding import decode_records
from streams.domain.facts import Fact, Rejected, SourceRecord
from streams.domain.folding import FOLD_ORDER, fold_cycle
from streams.domain.identity import split_segment
from streams.domain.state import PartitionState, Progress
from tests.builders import NOON_US, SECOND_US, catalog_view, record

PARTITION = 0


def make_context(**rules: Any) -> Context:
    """One partition, a plan of ten units."""
    view = catalog_view([("unit", "10")], **rules)
    return replace(view.context(), partitions=1)


@dataclass
class WrittenBooks:
    """One partition. `append` takes inbound bodies, `cycle` decides what has arrived."""

    context: Context = field(default_factory=make_context)
    records: dict[str, list[SourceRecord]] = field(
        default_factory=lambda: {
            topic.name: []
            for topic in (
                *(*INBOUND, LEDGER, ATTRIBUTIONS, DEAD_LETTERS),
                *(ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG),
            )
        }
    )
    state: PartitionState = field(default_factory=lambda: PartitionState(Progress()))
    offsets: dict[str, int] = field(default_factory=dict)
    now_us: int = NOON_US

    def append(self, *bodies: Any) -> None:
        """Inbound records; bytes go to usage as they are."""
        for body in bodies:
            self.now_us += SECOND_US
            made = (
                SourceRecord("usage", 0, self.now_us, b"acme", body)
                if isinstance(body, bytes)
                else record(body, 0, self.now_us)
            )
            self.put(made.topic, made.key, made.value)

    def put(self, topic: str, key: bytes | None, value: bytes | None) -> SourceRecord:
        """One more record of a topic."""
        offset = self.offsets.get(topic, 0)
        made = SourceRecord(topic, offset, self.now_us, key, value)
        self.records[topic].append(made)
        self.offsets[topic] = offset + 1
        return made

    def cycle(self, fault: tuple[str, int] | None = None) -> None:
        """What a worker does with all that has arrived. `fault`: the code stumbles over the record
        at this topic and offset."""
        state = self.state
        consumed, facts = [], list[Fact | Rejected]()
        for topic in FOLD_ORDER:
            begin = state.progress.consumed.get(topic, 0)
            end = self.offsets.get(topic, 0)
            consumed.append(Consumed(topic=topic, from_offset=begin, to_offset=end))
            waiting = [r for r in self.records[topic] if begin <= r.offset < end]
            for fact in decode_records(waiting, PARTITION, self.context.partitions):
                if (topic, fact.record.offset) == fault:
                    facts.append(Rejected(fact.record, "internal", "our own fault: X"))  # type: ignore[arg-type]
                else:
                    facts.append(fact)
        latest = max([state.progress.domain_time_us, *(f.record.appended_at_us for f in facts)])
        result = fold_cycle(state, PARTITION, consumed, facts, self.context, latest)
        for topic, rows in cycle_appends(state, result).items():
            if topic in SENT and not rows:
                continue  # a transaction leaves its marker where it wrote
            for key, value in rows:
                self.put(topic, key, value)
            self.offsets[topic] = self.offsets.get(topic, 0) + 1  # the marker of the commit
        state.new_claims = {}
        state.touched, state.touched_tasks, state.touched_billing = set(), set(), set()
        state.windows.touched.clear()
        state.unbound.touched.clear()

    # --- spoiling --------------------------------------------------------------------------------

    def find(self, topic: str, text: bytes) -> SourceRecord:
        """The first record that holds this text."""
        return next(r for r in self.records[topic] if text in (r.value or b""))

    def alter(self, topic: str, text: bytes, instead: bytes) -> SourceRecord:
        """Replaces a text in the first record that holds it."""
        found = self.find(topic, text)
        assert found.value is not None
        altered = replace(found, value=found.value.replace(text, instead, 1))
        self.records[topic][self.records[topic].index(found)] = altered
        return altered

    def remove(self, topic: str, text: bytes) -> SourceRecord:
        """Takes the first record that holds a text out of the book."""
        found = self.find(topic, text)
        self.records[topic].remove(found)
        return found

    # --- looking ---------------------------------------------------------------------------------

    def accounts(self) -> dict[bytes, bytes]:
        """The accounts table as the changelog has it now."""
        latest = {r.key or b"": r.value for r in self.records[ACCOUNTS_CHANGELOG.name]}
        return {key: value for key, value in latest.items() if value is not None}

    def claims(self) -> dict[bytes, bytes]:
        """The claims table as the changelog has it now."""
        segments = self.records[CLAIMS_CHANGELOG.name]
        return dict(row for r in segments for row in split_segment(r.value or b""))

    def image(self, name: str = "changelog") -> DictImage:
        """The tables as they are now."""
        segments = self.records[CLAIMS_CHANGELOG.name]
        last = segments[-1].offset if segments else None
        return DictImage(name, self.accounts(), self.claims(), last)

    def audit(
        self,
        *images: DictImage,
        scope: Scope | None = None,
        lives: Callable[[int, str], bool] = lambda _generation, _topic: True,
        instead: Mapping[str, ListBook] | None = None,
        sent: Sent | None = None,
        contexts: Contexts | None = None,
    ) -> PartitionReport:
        """Audits what there is."""
        made = {topic: self.book(topic) for topic in self.records}
        return audit_partition(
            PartitionBooks(PARTITION, made | dict(instead or {}), lives),
            contexts or (lambda _offset: self.context),
            images or [self.image()],
            scope,
            sent=sent,
        )

    def book(self, topic: str) -> ListBook:
        """A topic as it is now."""
        return ListBook(self.records[topic], end=self.offsets.get(topic, 0))


def texts(report: PartitionReport) -> list[str]:
    """The differences as lines."""
    return [difference.text(report.partition) for difference in report.differences]


def entry_of(source: SourceRecord) -> Any:
    """The entry that a record holds."""
    return codec.decode_entry(source.value or b"")
