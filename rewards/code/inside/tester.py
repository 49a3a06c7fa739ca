"""The process that runs the tests of functions, in a sandbox. No model code runs here: the
program's functions are called over a wire."""

from __future__ import annotations

import builtins
import os

from rewards.code.inside.wire import Wire, message, receive, write

TYPE_CHECKING = False  # without importing `typing`, which takes 5 ms in each sandbox
if TYPE_CHECKING:
    from typing import Any, NoReturn


class ProgramEnded(Exception):
    """The program's process is gone."""


class ProgramRaised(Exception):
    """Stands for an exception of the program's that is no `Exception`, such as SystemExit."""


class TesterWire(Wire):
    """The tests' end."""

    calls_only = True

    def described(self, error: BaseException) -> tuple[str, str, str]:
        return type(error).__name__, "error", str(error)[:300]

    def raised(self, name: str, outcome: str, text: str) -> Exception:
        kind: Any = getattr(builtins, str(name), None)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            kind = ProgramRaised
        try:
            error = kind(str(text))
        except TypeError:  # such as UnicodeDecodeError, which needs more
            error = ProgramRaised(str(text))
        error.outcome = str(outcome)
        return error

    def ask(self, name: str, *args: Any) -> Any:
        try:
            return super().ask(name, *args)
        except (EOFError, BrokenPipeError) as error:
            raise ProgramEnded("the program ended before its result was there") from error


class Record:
    """What the tests found."""

    def __init__(self) -> None:
        self.passed = self.failed = 0
        self.first = ("", "")
        """Outcome and text of the first failure."""

    def held(self) -> None:
        """An assertion held."""
        self.passed += 1

    def broke(self, error: BaseException, text: str) -> None:
        """An assertion did not hold, or could not be evaluated."""
        self.failed += 1
        plain = isinstance(error, AssertionError) and not hasattr(error, "outcome")
        outcome = "wrong" if plain else getattr(error, "outcome", "error")
        if isinstance(error, NameError) and not hasattr(error, "outcome"):
            outcome = "missing"
        if isinstance(error, ProgramEnded):
            outcome = "ended"
        said = text if plain else f"{text}: {str(error) or type(error).__name__}"
        self.first = self.first if self.failed > 1 else (outcome, said[:300])


def run(verdict: int, replies: int, asked: int) -> NoReturn:
    """Read the tests from standard input, say so, run them, and write what was found: how many
    assertions held, how many there are, the first failure."""
    code, wanted, entry, least = receive(0)
    write(verdict, b"+")
    record = Record()
    wire = TesterWire(replies, asked)
    try:
        names = _first(wire, wanted)
        if entry is not None and entry not in names:
            raise NameError(f"the program defines no {entry!r}")
        names |= {"_held": record.held, "_broke": record.broke, "__name__": "tests"}
        exec(code, names)
    except BaseException as error:  # whatever it is: the tests did not reach their end
        record.broke(error, "the tests stopped")
    total = max(record.passed + record.failed, least, 1)
    passed = record.passed if record.failed else total
    write(verdict, message((passed, total, *record.first)))
    os._exit(0)


def _first(wire: TesterWire, wanted: list[str]) -> dict[str, Any]:
    """The program's values of the wanted names, once it is loaded."""
    try:
        write(wire.target, message(list(wanted)))
        found = receive(wire.source)
    except (EOFError, BrokenPipeError) as error:
        raise ProgramEnded("the program ended while it was loaded") from error
    if isinstance(found, tuple):
        raise wire.raised(*found[1:])
    return {name: wire.unpack(packed) for name, packed in found if name in wanted}
