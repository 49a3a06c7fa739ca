"""Keep several requests in flight and collect the answers as they arrive.

After a stop or an error only the requests in flight are lost; earlier answers are returned."""

import queue
import time
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Generic, TypeVar

DRAIN_S = 10.0
"""How long requests in flight are waited for after a stop, in seconds."""
_POLL_S = 0.5
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


def ask_concurrently(
    ask: Callable[[_Item], _Answer],
    items: Sequence[_Item],
    threads: int,
    on_answers: Callable[[int], None],
    stop_requested: Callable[[], bool],
) -> tuple[list[_Answer | None], Exception | None]:
    """Each item's answer in order, and the first exception that `ask` raised.

    The answer is None for items that were not answered before a stop or an exception.
    `on_answers` gets the number of answers after each one. It and `stop_requested` are called in
    the caller's thread."""
    workers = _Workers(ask, items, min(threads, len(items)))
    answers: list[_Answer | None] = [None] * len(items)
    failure, answered, deadline = None, 0, float("inf")
    while workers.running and time.monotonic() < deadline:
        if deadline == float("inf") and (failure or stop_requested()):
            workers.halt.set()
            deadline = time.monotonic() + DRAIN_S
        try:
            result = workers.results.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if result is None:
            workers.running -= 1
        elif isinstance(result, Exception):
            failure = failure or result
            workers.halt.set()
        else:
            place, answer = result
            answers[place] = answer
            answered += 1
            on_answers(answered)
    return answers, failure


class _Workers(Generic[_Item, _Answer]):
    """Threads that answer items until none is left or `halt` is set.

    Each puts (place, answer) or its exception into `results`, and None when it ends."""

    def __init__(
        self, ask: Callable[[_Item], _Answer], items: Sequence[_Item], threads: int
    ) -> None:
        self._ask, self._items = ask, items
        self._todo = queue.SimpleQueue[int]()
        self.results = queue.SimpleQueue[tuple[int, _Answer] | Exception | None]()
        self.halt = Event()
        self.running = threads
        for place in range(len(items)):
            self._todo.put(place)
        for _ in range(threads):
            # Daemon threads: a request that outlasts DRAIN_S must not keep the process alive.
            Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        try:
            while not self.halt.is_set():
                place = self._todo.get_nowait()
                self.results.put((place, self._ask(self._items[place])))
        except queue.Empty:
            pass
        except Exception as error:  # handed over: the caller decides whether to raise it
            self.results.put(error)
        self.results.put(None)
