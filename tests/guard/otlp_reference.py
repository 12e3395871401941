"""docs/otlp-emitters.md: the tables of streams/gateway/otlp as they stand in the code."""

from collections.abc import Iterable
from typing import Final

from streams.gateway.otlp import counting, kinds, providers, spans
from streams.gateway.otlp.emitters import (
    EMITTERS,
    OPENINFERENCE,
    OTEL,
    PAID,
    PARTS,
    PYDANTIC_AI,
    VERCEL,
    Attributes,
    Emitter,
)

FAMILIES: Final = {
    "Paid": PAID,
    "OpenInference": OPENINFERENCE,
    "Vercel AI SDK": VERCEL,
    "Pydantic AI": PYDANTIC_AI,
    "OpenTelemetry": OTEL,
}

_HEAD: Final = """# Emitters of spans

Made by `make docs` from `streams/gateway/otlp/`; a test compares them. How to point an exporter at
Tollgate, and what becomes of a span, is in [otlp](otlp.md).

## Who counts how

The first row that fits a span is taken: by the name of its instrumentation, the provider, and
attributes of which one has to be there. "Inside" are the parts that the reported input or output
contains; any other part stands beside it. A part that is larger than the whole it is inside of
cannot be: the span is refused.

| row | versions | instrumentation | provider | attributes | inside input | inside output | source |
|---|---|---|---|---|---|---|---|
"""


def otlp_emitters_markdown() -> str:
    """Return docs/otlp-emitters.md."""
    parts = [_HEAD, *(_row(emitter) for emitter in EMITTERS)]
    parts += ["\n## Where the counts stand\n\nOf several names the first that is there counts.\n"]
    parts += ["\n| family | count | attributes |\n|---|---|---|\n"]
    parts += [
        f"| {family} | `{part}` | {_codes(getattr(names, part))} |\n"
        for family, names in FAMILIES.items()
        for part in PARTS
        if getattr(names, part)
    ]
    parts += [_beside(), _kinds(), _providers(), _allowed()]
    return "".join(parts)


def _row(emitter: Emitter) -> str:
    version = f" from {emitter.since}" if emitter.since else ""
    version += f" before {emitter.before}" if emitter.before else ""
    cells = (
        f"`{emitter.id}`",
        emitter.versions,
        (_codes(emitter.scopes) or "any") + version,
        ", ".join(emitter.providers) or "any",
        _family(emitter.attributes),
        _inside(emitter.input_includes, "cache_read", "cache_write", "input_audio"),
        _inside(emitter.output_includes, "reasoning", "output_audio"),
        emitter.source,
    )
    return "| " + " | ".join(cells) + " |\n"


def _family(attributes: Attributes) -> str:
    return next(name for name, names in FAMILIES.items() if names is attributes)


def _inside(includes: frozenset[str], *parts: str) -> str:
    return ", ".join(part for part in parts if part in includes) or "nothing"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _beside() -> str:
    rows = [f"| `{name}` | quantity `{to}` |\n" for name, to in counting.QUANTITIES.items()]
    rows += [f"| `{name}` | condition `{to}` |\n" for name, to in counting.CONDITIONS.items()]
    head = (
        "\n## Beside tokens\n\nSeconds become milliseconds. Pages are "
        f"`{counting.ANNOTATED_PAGES}` where `{counting.ANNOTATED}` is true.\n\n"
        "| attribute | becomes |\n|---|---|\n"
    )
    return head + "".join(rows)


def _kinds() -> str:
    rows = [
        f"| holds calls | `{name}` is {_codes(sorted(values))} |\n"
        for name, values in kinds.OUTER_VALUES.items()
    ]
    rows += [
        f"| holds calls | a span of `{scope}` called {_codes(sorted(names))} |\n"
        for scope, names in kinds.OUTER_NAMES.items()
    ]
    rows += ["| holds calls | `ai.operationId` begins with `ai.` and has no `.do` in it |\n"]
    rows += [
        f"| run of a tool | `{name}` is {_codes(sorted(values))} |\n"
        for name, values in kinds.TOOL_VALUES.items()
    ]
    return "\n## What holds calls, and what is a tool\n\n| span | told by |\n|---|---|\n" + "".join(
        rows
    )


def _providers() -> str:
    rows = [
        f"| `{name}` | {f'`{book}`' if book else 'nobody'} |\n"
        for name, book in sorted(providers.BOOK_NAMES.items())
    ]
    return (
        "\n## Providers\n\n"
        f"The provider is named by the first of {_codes(providers.NAMING)}. Names of the price "
        "book stay as they are, in lower case; what follows a point does not count, except "
        "here:\n\n"
        "| name | in the price book |\n|---|---|\n" + "".join(rows)
    )


def _allowed() -> str:
    return (
        "\n## The allow list\n\nNothing else of a span is read, kept or logged:\n\n"
        + "".join(f"- `{name}`\n" for name in sorted(spans.ALLOWED))
        + "".join(f"- `{prefix}*`\n" for prefix in spans.OPEN_PREFIXES)
        + "\nNames of metadata with one of these in them are dropped, whatever they hold: "
        + _codes(spans.NEVER_IN_NAMES)
        + ".\n"
    )
