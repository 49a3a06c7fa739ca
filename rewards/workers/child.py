"""A process that calls one function: `python child.py SOCKET PARENT`.

It is run as a script and uses the standard library alone, so that the program that it loads finds
none of our modules. Messages are JSON, each after its length. The first one is the program; it is
answered with `{}` or `{"failed", "line", "trace"}`. Every other one is the arguments of a call, and
is answered with `{"value"}`, with `{"unfit"}` for a value that is no plain JSON, or with
`{"raised"}`, a traceback."""

import ctypes
import inspect
import json
import linecache
import os
import reprlib
import signal
import sys
import traceback
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

PR_SET_PDEATHSIG = 1
LENGTH = 8
"""Bytes of a message's length."""
MODULE = "uphill_program"
"""The program's name as a module; no installed package has it."""
LONGEST_TRACE = 4000
"""Characters of a traceback that are kept, the last ones."""
LONGEST_VALUE = 1_000_000
"""Characters of a returned value as JSON."""


def main() -> None:
    """Load the program, then answer calls until the socket is closed."""
    end_with(int(sys.argv[2]))
    with os.fdopen(int(sys.argv[1]), "rb+", buffering=0) as socket:
        os.set_inheritable(socket.fileno(), False)
        program = receive(socket)
        function, reply = load(program)
        send(socket, reply)
        while function is not None and (arguments := receive(socket)) is not None:
            own = os.getpid()
            reply = call(function, arguments)
            if os.getpid() != own:
                os._exit(1)  # a copy of this process that the function made and did not end
            send(socket, reply)


def end_with(parent: int) -> None:
    """Make the kernel kill this process when its parent dies, and first of all where memory runs
    out: the parent holds hours of work."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")


def load(program: Any) -> tuple[Callable[..., Any] | None, dict[str, Any]]:
    """The function that the program defines, and the answer to the first message."""
    name, source, wanted = program["name"], program["source"], program["function"]
    module = types.ModuleType(MODULE)
    module.__file__ = name
    sys.modules[MODULE] = module
    # Tracebacks show its lines; the missing time keeps the cache from looking for the file.
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        exec(compile(source, name, "exec"), module.__dict__)  # the user's own code, by wish
        function = getattr(module, wanted, None)
        problem = unusable(function, wanted, program["parameters"])
    except BaseException as error:  # SystemExit too: whatever ends loading is reported
        words = "".join(traceback.format_exception_only(error)).strip().splitlines()
        return None, {"failed": words[-1], "line": line_in(name, error), "trace": trace_of(error)}
    if problem:
        return None, {"failed": problem, "line": None, "trace": ""}
    return function, {}


def unusable(function: Any, name: str, parameters: list[str]) -> str:
    """Why the function cannot be called with these parameters; empty if it can."""
    if function is None:
        return f"it defines no {name!r}"
    if not callable(function):
        return f"{name!r} is no function but {type(function).__name__}"
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        return f"{name!r} returns no number: it is a coroutine or a generator"
    try:
        inspect.signature(function).bind(*parameters)
    except TypeError as error:
        return f"{name!r} cannot be called with ({', '.join(parameters)}): {error}"
    except ValueError:  # a built-in function without a signature: its first call tells
        pass
    return ""


def call(function: Callable[..., Any], arguments: list[Any]) -> dict[str, Any]:
    """Call the function, and describe what came of it."""
    try:
        value = function(*arguments)
        reply = plain(value)
    except BaseException as error:  # SystemExit too: a function ends no process of ours
        reply = {"raised": trace_of(error)}
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the function may have closed it
            stream.flush()
    return reply


def plain(value: Any) -> dict[str, Any]:
    """The value as plain JSON. What can be a float is one: numbers of other libraries."""
    if not isinstance(value, (str, bytes, bool)) and hasattr(type(value), "__float__"):
        with suppress(Exception):  # not every one can, such as an array of several numbers
            value = float(value)
    try:
        if len(json.dumps(value)) <= LONGEST_VALUE:
            return {"value": value}
    except (TypeError, ValueError, RecursionError):
        pass
    return {"unfit": f"{type(value).__name__} {reprlib.repr(value)}"}


def trace_of(error: BaseException) -> str:
    """The end of the traceback, without the frame of this file."""
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    return "".join(traceback.format_exception(type(error), error, frames))[-LONGEST_TRACE:]


def line_in(name: str, error: BaseException) -> int | None:
    """The line of the program in which it failed to load."""
    if isinstance(error, SyntaxError) and error.filename == name:
        return error.lineno
    lines = [
        one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == name
    ]
    return lines[-1] if lines else None


def receive(socket: Any) -> Any:
    """The next message; None where the socket was closed."""
    header = _exactly(socket, LENGTH)
    body = header and _exactly(socket, int.from_bytes(header, "big"))
    return json.loads(body) if body else None


def send(socket: Any, message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    left = memoryview(len(body).to_bytes(LENGTH, "big") + body)
    while left:
        left = left[socket.write(left) :]


def _exactly(socket: Any, count: int) -> bytes:
    """So many bytes; none where the socket was closed before."""
    parts = bytearray()
    while len(parts) < count:
        part = socket.read(count - len(parts))
        if not part:
            return b""
        parts += part
    return bytes(parts)


if __name__ == "__main__":
    main()
