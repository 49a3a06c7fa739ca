"""The process that runs a program, in a sandbox.

Nothing that it says decides a verdict: what it prints is compared outside, and what its functions
return is compared in the tests' process."""

from __future__ import annotations

import builtins
import os
import sys
from types import ModuleType

from rewards.code.inside.wire import Wire, message, receive, write

TYPE_CHECKING = False  # without importing `typing`, which takes 5 ms in each sandbox
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

SCRATCH = "/scratch"
EXITS = {"error": 1, "memory": 101, "processes": 102, "denied": 103, "output": 104, "syntax": 105}
"""Exit statuses by outcome."""
_AGAIN, _READ_ONLY, _NO_MEMORY, _TOO_BIG, _FULL = 11, 30, 12, 27, 28  # errno


def outcome_of(error: BaseException) -> str:
    """The outcome that an exception of the program stands for."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, SyntaxError):
        return "syntax"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "processes"
    if not isinstance(error, OSError):
        return "error"
    if error.errno == _AGAIN:
        return "processes"
    if error.errno == _NO_MEMORY:
        return "memory"
    if error.errno in (_TOO_BIG, _FULL):
        return "output"
    place = os.path.normpath(os.path.join(SCRATCH, str(error.filename or ".")))
    outside = place != SCRATCH and not place.startswith(f"{SCRATCH}/")
    denied = isinstance(error, PermissionError) or error.errno == _READ_ONLY
    return "denied" if denied or (outside and isinstance(error, FileNotFoundError)) else "error"


def said(error: BaseException) -> str:
    """An exception in a few words."""
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except BaseException:  # the program's own `__str__` raised
        return type(error).__name__


class ProgramWire(Wire):
    """The program's end."""

    def described(self, error: BaseException) -> tuple[str, str, str]:
        names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
        return names[0], outcome_of(error), said(error)

    def raised(self, name: str, outcome: str, text: str) -> Exception:
        return RuntimeError(text)  # by a function of the tests that the program called


def namespace(name: str) -> dict[str, Any]:
    """The globals of the program's module."""
    module = ModuleType(name)
    sys.modules[name] = module
    for word in ("exit", "quit"):  # the module `site`, which is not loaded, adds them
        setattr(builtins, word, sys.exit)
    sys.argv = ["answer.py"]
    return module.__dict__


def load(source: str, name: str) -> dict[str, Any]:
    """Run the program; its globals."""
    names = namespace(name)
    exec(compile(source, "answer.py", "exec", dont_inherit=True), names)
    return names


def run_script(source: str) -> NoReturn:
    """Run a program that reads standard input and prints; its exit status says the outcome."""
    try:
        load(source, "__main__")
        _finish()
        status = 0
    except SystemExit as end:
        _finish()
        status = 0 if end.code in (None, 0) else EXITS["error"]
    except BaseException as error:
        status = EXITS[outcome_of(error)]
        write(2, said(error).encode(errors="replace"))
    os._exit(status)


def serve(source: str, asked: int, replies: int) -> NoReturn:
    """Run a program that defines functions, and call them as the tests ask."""
    wire = ProgramWire(asked, replies)
    try:
        names = load(source, "answer")
    except BaseException as error:
        write(replies, message(("raised", *wire.described(error))))
        os._exit(0)
    wanted = receive(asked)
    found = {name: _looked_up(names, name) for name in wanted}
    write(replies, message([(name, wire.pack(one[0])) for name, one in found.items() if one]))
    while True:
        try:
            _, name, packed = receive(asked)
        except EOFError:
            os._exit(0)
        wire.answer(name, packed)


def _looked_up(names: dict[str, Any], name: str) -> tuple[Any, ...]:
    """The method of the program's class `Solution`, or its global of that name; empty: neither.
    The method comes first: before it may stand the signature that the task began with."""
    solution: Callable[[], Any] | None = names.get("Solution")
    if isinstance(solution, type) and hasattr(solution, name):
        return (getattr(solution(), name),)
    return (names[name],) if name in names else ()


def _finish() -> None:
    """What the interpreter does at the end of a program."""
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
