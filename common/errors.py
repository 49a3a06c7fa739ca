"""The errors that a command can end with, each with its exit code.

A message says what is wrong, where, and with which value; `remedy` says what to do about it. The
command line prints both without a traceback."""


class UphillError(Exception):
    """An error that a person can act on. `exit_code` is what the process returns."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message


class RunFailed(UphillError):
    """The run started and could not continue (exit code 1)."""

    exit_code = 1


class BadInput(UphillError):
    """A recipe, a file or an argument is wrong; nothing was started (exit code 2)."""

    exit_code = 2


class GateStopped(UphillError):
    """An evaluation fell below the recipe's gate (exit code 3)."""

    exit_code = 3


class BudgetSpent(UphillError):
    """The recipe's budget is used up and the run saved its state (exit code 3)."""

    exit_code = 3


class Interrupted(UphillError):
    """A signal asked the run to stop and it saved its state (exit code 130)."""

    exit_code = 130
