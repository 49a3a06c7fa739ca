"""Several servers asked at the same time, with an eye on those that are silent."""

import queue
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

Result = TypeVar("Result")
QUIET = 15.0
"""Seconds of silence after which the user is told, and after as many again."""
LOOK = 1.0
"""Seconds between two looks."""


def together(
    jobs: Mapping[str, Callable[[], Result]],
    silent_for: Callable[[str], float],
    note: Callable[[str], None],
) -> list[Result]:
    """The results of all jobs, in their order, each done in a thread. The first error is raised at
    once, and threads that go on do not keep the process from ending.

    `silent_for(name)`: seconds since the last sign of what job `name` waits for. From `QUIET` on,
    and as often as that passes again, a note says so."""
    ended: queue.SimpleQueue[tuple[str, Result | None, BaseException | None]] = queue.SimpleQueue()

    def work(name: str, job: Callable[[], Result]) -> None:
        try:
            ended.put((name, job(), None))
        except BaseException as error:
            ended.put((name, None, error))

    for name, job in jobs.items():
        threading.Thread(target=work, args=(name, job), name=name, daemon=True).start()
    results: dict[str, Result] = {}
    told = dict.fromkeys(jobs, 0)
    while len(results) < len(jobs):
        try:
            name, result, error = ended.get(timeout=LOOK)
        except queue.Empty:
            for name in jobs.keys() - results.keys():
                told[name] = _tell(name, silent_for(name), told[name], note)
            continue
        if error is not None:
            raise error
        results[name] = cast(Result, result)
    return [results[name] for name in jobs]


def _tell(name: str, seconds: float, told: int, note: Callable[[str], None]) -> int:
    """Note a silence that has lasted another `QUIET` seconds; how many of these are told."""
    periods = int(seconds / QUIET)
    if periods > told:
        note(f"{name} has not answered for {seconds:.0f} s; the stage waits for it")
    elif told and not periods:
        note(f"{name} answers again")
    return periods
