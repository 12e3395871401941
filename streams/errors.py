"""The exceptions of Tollgate's own processes, and what an operator does about each.

    TollgateError            every exception below; carries `action`
    ├── SetupError           a bad setup: refuse to start, name everything that is wrong
    │   └── RightsError      a user lacks a right there: name the command that gives it
    ├── TransientError       something outside may recover: retry under one deadline
    └── FaultError           our own bug or a broken promise: stop, keep the evidence

Owns the tree and nothing else. Bad input is not here: it becomes a dead letter with a stable
code, never an exception that leaves the domain.
"""


class TollgateError(Exception):
    """Base of all exceptions that an operator may get to see.

    `action` is one or more full sentences that say what to do; it is never empty.
    """

    def __init__(self, message: str, *, action: str) -> None:
        """Keep `message` (what happened) apart from `action` (what to do about it)."""
        if not action:
            raise ValueError("every TollgateError needs an action for the operator")
        super().__init__(message)
        self.message = message
        self.action = action

    def __str__(self) -> str:
        """Return both halves, so that a bare traceback is already useful."""
        return f"{self.message}\n  what to do: {self.action}"


class SetupError(TollgateError):
    """The environment, a setting or a file is not as it must be; nothing was started."""


class RightsError(SetupError):
    """A user of another server may not do, or not see, what this process needs."""


class TransientError(TollgateError):
    """Something that this process depends on failed and may work again shortly."""


class FaultError(TollgateError):
    """Our own fault, or a child that will not stay up: continuing would hide it."""
