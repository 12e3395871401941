"""The real calls: both files of the Azure trace as one list in the order in which they happened.

Owns reading the files and which model of the price book stands for which service. The data does
not name the models; the two here are this demo's choice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

MICROSECOND_DIGITS = 6
"""The files have a seventh digit (100 ns); the wire format ends at microseconds, so it is cut."""


@dataclass(frozen=True, slots=True)
class Service:
    """One of the two services of the trace, and what the demo lets it be."""

    name: str
    file: str
    provider: str
    model: str
    agent_id: str


SERVICES = (
    Service(
        "code",
        "AzureLLMInferenceTrace_code.csv",
        provider="openai",
        model="gpt-4o-mini",
        agent_id="code-assistant",
    ),
    Service(
        "conv",
        "AzureLLMInferenceTrace_conv.csv",
        provider="openai",
        model="gpt-4o",
        agent_id="conversation",
    ),
)


@dataclass(frozen=True, slots=True)
class Call:
    """A row; `number` counts the rows of its file from 1, `time_of_day` is HH:MM:SS.ffffff UTC."""

    service: Service
    number: int
    time_of_day: str
    context_tokens: int
    generated_tokens: int

    @property
    def event_id(self) -> str:
        """The id under which the call is billed: its place in the trace, the same in every run."""
        return f"azure-{self.service.name}-{self.number:05d}"


def read_calls(rows: int | None = None) -> list[Call]:
    """The first `rows` calls (None: all) in the order of their times; ties in the files' order."""
    calls = [call for service in SERVICES for call in _calls_of(service)]
    calls.sort(key=lambda call: call.time_of_day)
    return calls if rows is None else calls[:rows]


def _calls_of(service: Service) -> Iterator[Call]:
    path = resources.files("streams.demo").joinpath("azure", service.file)
    lines = path.read_text("ascii").splitlines()
    for number, line in enumerate(lines[1:], 1):
        timestamp, context, generated = line.split(",")
        clock, _, fraction = timestamp.partition(" ")[2].partition(".")
        micros = fraction[:MICROSECOND_DIGITS].ljust(MICROSECOND_DIGITS, "0")
        yield Call(service, number, f"{clock}.{micros}", int(context), int(generated))
