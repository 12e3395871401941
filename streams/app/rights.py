"""Who may do what on Kafka: one table of roles and topics, and the ACLs that it amounts to.

A broker that knows no ACLs lets everybody write decisions and entries; with these, what only a
worker may say only a worker can say. A topic without a row is refused here, and a test sees it.
docs/kafka-security.md shows the table.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ANSWERS,
    ASKS,
    ATTRIBUTIONS,
    BUDGETS,
    CATALOG,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    LEDGER,
    OWNERS,
    PAID_CATALOGUE,
    PREFLIGHTS,
    SIGNALS,
    TOPICS,
    TRANSFERS,
    UNASSIGNED,
    USAGE,
)
from streams.adapters.acls import Acl, Kind
from streams.adapters.acls import give as give_acls
from streams.app.addresses import kafka_bootstrap, sink_group
from streams.app.asks import asks_group
from streams.settings import Settings

Role = Literal["worker", "gateway", "sink", "producer", "operator", "restore"]
ROLES: Final[tuple[Role, ...]] = (
    "worker",
    "gateway",
    "sink",
    "producer",
    "operator",
    "restore",
)
"""A worker with a gateway inside needs both roles' rights. `operator` is whoever runs commands and
the audit. `restore` may write everything, original append times too (K6): a user that is there only
while something is restored."""

_OPERATIONS: Final = {
    "r": ("Read", "Describe"),
    "w": ("Write", "Describe"),
    "rw": ("Read", "Write", "Describe"),
    "d": ("Describe",),
    "-": (),
}
"""`d`: whoever works on the log compares the ids of all topics first (K5)."""

_KEPT: Final = ("Create", "DescribeConfigs")
_RESTORED: Final = (*_KEPT, "Alter", "AlterConfigs")

RIGHTS: Final[Mapping[str, str]] = {
    # topic: worker, gateway, sink, producer, operator, restore
    USAGE.name: "rw w d w r rw",
    SIGNALS.name: "rw w d w r rw",
    BUDGETS.name: "r w d - rw rw",
    PREFLIGHTS.name: "rw d d - r rw",
    ASKS.name: "d r d w r rw",
    ANSWERS.name: "d w d r r rw",
    TRANSFERS.name: "rw d d - r rw",
    UNASSIGNED.name: "r w d - r rw",
    CATALOG.name: "r r r - rw rw",
    OWNERS.name: "w r d - r rw",
    PAID_CATALOGUE.name: "d rw d - r rw",
    LEDGER.name: "rw d r - r rw",
    ATTRIBUTIONS.name: "rw d r - r rw",
    DEAD_LETTERS.name: "rw d r - r rw",
    ACCOUNTS_CHANGELOG.name: "rw d d - r rw",
    CLAIMS_CHANGELOG.name: "rw d d - r rw",
}
"""Workers write `usage` and `signals` where they forward what found its customer late."""


def topic_rights(topic: str, role: Role) -> tuple[str, ...]:
    """The operations of a role on a topic, by Kafka's names."""
    letters = RIGHTS[topic].split()
    found = _OPERATIONS[letters[ROLES.index(role)]]
    more = {"operator": _KEPT, "restore": _RESTORED}.get(role, ())
    return (*found, *more)


def acls(settings: Settings, role: Role, user: str) -> tuple[Acl, ...]:
    """The least that a role can do its work with, for this user of Kafka."""
    principal = f"User:{user}"
    return tuple(
        Acl(principal, kind, name, operation, prefixed)
        for kind, name, prefixed, operations in _things(settings, role)
        for operation in operations
    )


def carry_acls(
    settings: Settings, user: str, from_prefix: str, from_app_id: str
) -> tuple[Acl, ...]:
    """What an operator needs beside its role's rights to carry over from the installation under
    another topic prefix: to read that one and see whether its workers run, and to write here what
    Paid's clients keep. Nothing else is written that an operator may not write anyway."""
    principal = f"User:{user}"
    read = [
        Acl(principal, "topic", topic.full_name(from_prefix), operation)
        for topic in TOPICS
        for operation in _OPERATIONS["r"]
    ]
    kept = PAID_CATALOGUE.full_name(settings.topic_prefix)
    return (
        *read,
        Acl(principal, "group", from_app_id, "Describe"),
        Acl(principal, "topic", kept, "Write"),
    )


def _things(settings: Settings, role: Role) -> Iterator[tuple[Kind, str, bool, tuple[str, ...]]]:
    for topic in TOPICS:
        if operations := topic_rights(topic.name, role):
            yield "topic", topic.full_name(settings.topic_prefix), False, operations
    worker, gateway, sink = settings.app_id, asks_group(settings), sink_group(settings)
    groups = {"worker": (worker,), "gateway": (gateway,), "sink": (sink,)}
    for group in groups.get(role, ()):
        yield "group", group, False, ("Read",)
    if role in ("operator", "restore"):
        more = ("Describe",) if role == "operator" else ("Read", "Describe")
        for group in (worker, gateway, sink):
            yield "group", group, False, more
    if role == "restore":
        yield "transactional-id", "tollgate-restore-", True, ("Write", "Describe")
    if role == "worker":
        # `<app>-<partition>` and `<app>-preflight-<partition>`.
        yield "transactional-id", f"{settings.app_id}-", True, ("Write", "Describe")


def command_lines(given: tuple[Acl, ...], bootstrap: str) -> Iterator[str]:
    """The same for `kafka-acls.sh`, a line for each thing."""
    by_thing: dict[tuple[str, str, str, bool], list[str]] = {}
    for acl in given:
        thing = (acl.principal, acl.kind, acl.name, acl.prefixed)
        by_thing.setdefault(thing, []).append(acl.operation)
    for (principal, kind, name, prefixed), operations in by_thing.items():
        told = " ".join(f"--operation {operation}" for operation in operations)
        pattern = " --resource-pattern-type prefixed" if prefixed else ""
        yield (
            f"kafka-acls.sh --bootstrap-server {bootstrap} --command-config admin.properties --add "
            f"--allow-principal {principal} {told} --{kind} {name}{pattern}"
        )


async def give(settings: Settings, given: tuple[Acl, ...]) -> None:
    """Gives them on the broker; once more changes nothing. Raises what `adapters.acls` raises."""
    await give_acls(kafka_bootstrap(settings), given)
