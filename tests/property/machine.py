"""A partition that lives for weeks: Hypothesis chooses what is sent, what operators do, how cycles
are cut; the naive model has to come to the same books (`tests.property.side_by_side`)."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schemas import codec
from streams.domain.folding import FOLD_ORDER
from tests.builders import DAY_US, HOUR_US, json_of, replay
from tests.property.logs import (
    BUDGETS,
    SIGNALS,
    USAGE,
    WHEN,
    grant_fields,
    record_of,
    signal_fields,
    usage_fields,
)
from tests.property.model import Letter, place_of
from tests.property.side_by_side import CUSTOMERS, SEEN, Sent, SideBySide

_numbers = st.integers(0, 30)
_customers = st.sampled_from(CUSTOMERS)
_ids = st.sampled_from([f"e{number}" for number in range(7)])
_who_and_when = (_customers, _ids, st.sampled_from(WHEN))
_flaws = st.sampled_from(("", "", "", "", "", "", "wrong_key", "invalid_field", "wrong_partition"))
_hows = st.sampled_from(("again", "again", "changed", "corrected"))
_steps = st.sampled_from((1, HOUR_US, 7 * HOUR_US, DAY_US, 2 * DAY_US, 5 * DAY_US, 31 * DAY_US))
_takes = st.fixed_dictionaries({topic: st.sampled_from((0, 2, 5, 99)) for topic in FOLD_ORDER})


class Partition(SideBySide, RuleBasedStateMachine):
    """One partition of an installation, its producers, its operators and its worker."""

    @initialize(rules=st.integers(0, 2), double=st.booleans())
    def begin(self, rules: int, double: bool) -> None:
        """An empty installation."""
        self.start(rules, double)

    @invariant()
    def step(self) -> None:
        """What is compared is compared by each cut; here steps are counted."""
        SEEN["step"] += 1

    # --- producers -----------------------------------------------------------------------------

    @rule(several=st.lists(st.tuples(usage_fields, *_who_and_when, _flaws), min_size=1, max_size=4))
    def use(self, several: list[tuple[Any, str, str, int | None, str]]) -> None:
        """Usage."""
        for fields, customer, name, when, flaw in several:
            self._send_new(USAGE, fields, customer, name, when, flaw)

    @rule(several=st.lists(st.tuples(signal_fields, *_who_and_when), min_size=1, max_size=3))
    def signal(self, several: list[tuple[Any, str, str, int | None]]) -> None:
        """Signals."""
        for fields, customer, name, when in several:
            self._send_new(SIGNALS, fields, customer, name, when, "")

    @rule(
        drawn=st.data(),
        customer=_customers,
        name=_ids,
        flaw=_flaws,
        resets=st.sampled_from((None, "day", "week", "month")),
    )
    def grant(self, drawn: Any, customer: str, name: str, flaw: str, resets: str | None) -> None:
        """A grant, at times one that resets."""
        fields = drawn.draw(grant_fields(self.now_us))
        if resets is not None:
            fields["resets"] = resets
        self._send_new(BUDGETS, fields, customer, name, None, flaw)

    @precondition(lambda self: self.sent)
    @rule(several=st.lists(st.tuples(_numbers, _hows), min_size=1, max_size=4))
    def repeat(self, several: list[tuple[int, str]]) -> None:
        """Records from before once more: the same, with other content, or without their flaw."""
        for number, how in several:
            event = replace(self._pick(self.sent, number), appended_us=self.now_us)
            if how == "changed" and event.topic == USAGE:
                event = replace(event, fields=(*dict(event.fields, units=number).items(),))
            elif how == "corrected" and event.flaw != "wrong_partition":
                event = replace(event, flaw="", occurred_us=None)
            self._send(event)

    # --- operators -----------------------------------------------------------------------------

    @rule(number=_numbers, times=st.integers(1, 2), stray=st.tuples(usage_fields, *_who_and_when))
    def replay(self, number: int, times: int, stray: tuple[Any, str, str, int | None]) -> None:
        """A dead letter is replayed, at times twice: one of ours, or one of another partition,
        where a record of ours had strayed to."""
        if number % 2 or not self.letters:
            fields, customer, name, when = stray
            event = self._event(USAGE, fields, customer, name, when, "wrong_partition")
            self.letters.append(Letter(event, len(self.letters), self.generation, 1))
            number = 0
        letter = self._pick(self.letters, number)
        event = letter.event
        place = f"{place_of(letter)}-0"
        body = replay(
            record_of(event, letter.offset),
            event.customer,
            letter.partition,
            generation=letter.generation,
            letter_id=place,
            event_id=f"replay-{place}",
        )
        for _ in range(times):
            self._append(BUDGETS, Sent(self._record(body), replayed=letter))

    @precondition(lambda self: self.letters)
    @rule(number=_numbers)
    def discard(self, number: int) -> None:
        """A dead letter is given up."""
        letter = self._pick(self.letters, number)
        place = f"{place_of(letter)}-0"
        fields = {"kind": "discard", "source": "dead-letters", "letter_id": place, "reason": "no"}
        body = codec.decode_budget(json_of(letter.event.customer, f"discard-{place}", fields))
        self._append(BUDGETS, Sent(self._record(body), discarded=letter))

    @rule(step=_steps, midnight=st.booleans())
    def wait(self, step: int, midnight: bool) -> None:
        """Time passes, at times exactly up to a midnight."""
        self.now_us += step
        if midnight:
            self.now_us += DAY_US - self.now_us % DAY_US
        SEEN["days pass"] += step >= DAY_US

    @rule(
        what=st.sampled_from(("rules", "prices", "generation", "restart", "store lost")),
        drawn=st.data(),
    )
    def operate(self, what: str, drawn: st.DataObject) -> None:
        """What operators and machines do now and then."""
        SEEN[what] += 1
        if what == "rules":
            self._append_rules(drawn.draw(st.integers(0, 2)))
        elif what == "prices":
            self._append_prices(drawn.draw(st.booleans()))
        elif what == "generation":
            self._recreate(drawn.draw(st.sets(st.sampled_from(FOLD_ORDER), min_size=1)))
        else:
            if what == "store lost":
                self.lose_store()
            self._restart()
        self.catalog.current = self.view.context()

    # --- the worker ----------------------------------------------------------------------------

    @precondition(lambda self: any(topic.waiting for topic in self.topics.values()))
    @rule(takes=_takes, gap=st.sampled_from((0, 0, 1)))
    def cut(self, takes: dict[str, int], gap: int) -> None:
        """A cycle over some of what waits."""
        self.run_cycle(takes, gap)

    @precondition(lambda self: any(topic.waiting for topic in self.topics.values()))
    @rule()
    def catch_up(self) -> None:
        """A cycle over all that waits."""
        self.run_cycle(dict.fromkeys(FOLD_ORDER, 99), 0)

    @precondition(lambda self: self.sent)
    @rule(count=st.integers(1, 5))
    def retry(self, count: int) -> None:
        """A producer sends its last records once more, after a while or at once."""
        for event in self.sent[-count:]:
            self._send(replace(event, appended_us=self.now_us))

    def teardown(self) -> None:
        """At the end of a run."""
        if hasattr(self, "broker"):
            self.check_ledger()
