"""Asks the program that runs with these settings how it is: what health checks of containers run,
so that an image needs no other client of HTTP."""

import http.client
from typing import Final, Literal

from streams.errors import SetupError
from streams.settings import Settings

PROBE_SECONDS_MAX: Final = 5.0
"""How long a program may take to answer: a busy cycle takes milliseconds."""

LOOPBACK_OF: Final = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}  # noqa: S104 - asked, not bound
"""Where to ask a program that listens on every address."""

ANSWER_BYTES_MAX: Final = 1_000
"""Of the answer, which is one line."""


def probe(settings: Settings, question: Literal["live", "ready"]) -> tuple[bool, str]:
    """Whether the answer is yes, and what was said. Raises SetupError where there is no address
    to ask."""
    address = settings.metrics_listen
    host, _, port = (address or "").rpartition(":")
    if address is None or port == "0":
        raise SetupError(
            "there is no address to ask: metrics_listen is "
            + ("not given" if address is None else "a port that the program picks"),
            action="Give the program and this command the same TOLLGATE_METRICS_LISTEN, such as "
            "127.0.0.1:9464.",
        )
    host = LOOPBACK_OF.get(host, host.strip("[]"))
    connection = http.client.HTTPConnection(host, int(port), timeout=PROBE_SECONDS_MAX)
    try:
        connection.request("GET", f"/{question}")
        answer = connection.getresponse()
        said = answer.read(ANSWER_BYTES_MAX).decode("utf-8", "replace").strip()
        return answer.status == http.client.OK, said
    except (OSError, http.client.HTTPException) as error:
        return False, f"nothing answers on {address}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
