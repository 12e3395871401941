"""What can go wrong on the producer's side, each with what to do about it.

    ClientError
    ├── SpoolError             the spool cannot be used
    │   ├── SpoolBusyError     another process has it open
    │   ├── SpoolFullError     no room for another event
    │   ├── SpoolDamagedError  the file is not what was written
    │   └── SpoolClosedError   it was closed, or opened before a fork
    ├── NotDeliveredError      a flush ended before everything was in the log
    └── NotAResultError        something that is no integration's result

An event that the contract refuses raises `schemas.errors.RejectError`, as in a worker. No message
holds what an event says.
"""


class ClientError(Exception):
    """Base of the client's errors. `action` says what its reader can do."""

    def __init__(self, message: str, action: str = "") -> None:
        super().__init__(f"{message}. {action}" if action else message)
        self.message = message
        self.action = action


class SpoolError(ClientError):
    """The spool cannot be used."""


class SpoolBusyError(SpoolError):
    """Another process, or another Spool of this one, has the directory open."""


class SpoolFullError(SpoolError):
    """The event was not taken: there is no room for it."""


class SpoolDamagedError(SpoolError):
    """The file is not one that a spool wrote, or not any more."""


class SpoolClosedError(SpoolError):
    """The spool was closed, or was opened by the process from which this one was forked."""


class NotDeliveredError(ClientError):
    """A flush ended before everything was in the log. Nothing is lost: `waiting` events are in the
    spool and will be sent."""

    def __init__(self, waiting: int, fault: str) -> None:
        super().__init__(
            f"{waiting} events are in the spool and not yet in the log"
            + (f"; the last try ended with: {fault}" if fault else ""),
            "They will be sent, by this producer or by the next one that opens the spool.",
        )
        self.waiting = waiting
        self.fault = fault


class NotAResultError(ClientError, ValueError):
    """Something that cannot be read as the result of an integration's action. `field` is the
    argument or field to blame."""

    def __init__(self, message: str, field: str = "result") -> None:
        super().__init__(message)
        self.field = field
