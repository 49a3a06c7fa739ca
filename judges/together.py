"""Many requests at once whose answers are kept as they come: a stop, or an end of it all, costs
those in flight."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

LINGER_S = 10.0
"""How long the requests in flight are waited for after a stop, in seconds."""
_TICK_S = 0.5
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


def ask_together(
    ask: Callable[[_Item], _Answer],
    items: Sequence[_Item],
    threads: int,
    heard: Callable[[int], None],
    stop_requested: Callable[[], bool],
) -> tuple[list[_Answer | None], Exception | None]:
    """Each item's answer in order, None for those not asked any more, and the exception of `ask`
    that ended it.

    `heard` gets the number of answers after each; it and `stop_requested` are called in the
    caller's thread."""
    todo, done, halt = (
        queue.SimpleQueue[int](),
        queue.SimpleQueue[tuple[int, _Answer] | Exception | None](),
        threading.Event(),
    )

    def work() -> None:
        try:
            while not halt.is_set():
                place = todo.get_nowait()
                done.put((place, ask(items[place])))
        except queue.Empty:
            pass
        except Exception as error:  # handed over: it is the caller's to raise
            done.put(error)
        done.put(None)

    for place in range(len(items)):
        todo.put(place)
    running = min(threads, len(items))
    for _ in range(running):
        # Daemons: a request that outlasts the wait below must not hold the process.
        threading.Thread(target=work, daemon=True).start()
    found: list[_Answer | None] = [None] * len(items)
    failure, answered, until = None, 0, float("inf")
    while running and time.monotonic() < until:
        if until == float("inf") and (failure or stop_requested()):
            halt.set()
            until = time.monotonic() + LINGER_S
        try:
            got = done.get(timeout=_TICK_S)
        except queue.Empty:
            continue
        if got is None:
            running -= 1
        elif isinstance(got, Exception):
            failure = failure or got
            halt.set()
        else:
            found[got[0]] = got[1]
            answered += 1
            heard(answered)
    return found, failure
