"""The figures of a finished run of lm-evaluation-harness, in the form of our suites' results.

A metric whose values by sample are all 0 or 1 has Wilson's interval, another one that of its
standard error. The harness divides no task, so that its figures are those of a final part: nothing
is steered by them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.intervals import Z, wilson
from evals.parts import FINAL

PREFIX = "lm-eval/"
_STDERR = "_stderr"
_PLAIN = "none"
"""The name of the harness's filter that changes nothing."""


def suites_of(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By suite (`lm-eval/<task>/<metric>`, with the filter where there is one) the score with its
    interval. `results` is what the harness returns, with its samples."""
    return {
        f"{PREFIX}{task}/{label}": {FINAL: figure}
        for task, values in results["results"].items()
        for label, figure in _figures(results, task, values)
    }


def _figures(
    results: Mapping[str, Any], task: str, values: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    samples = results.get("samples", {}).get(task, [])
    n = _count(results, task)
    for key, value in values.items():
        metric, comma, name = key.partition(",")
        if not comma or metric.endswith(_STDERR) or not isinstance(value, int | float):
            continue
        own = [one[metric] for one in samples if one["filter"] == name and metric in one]
        stderr = values.get(f"{metric}{_STDERR},{name}")
        label = metric if name == _PLAIN else f"{metric},{name}"
        yield label, _figure(float(value), n, own, stderr)


def _figure(value: float, n: int, own: Sequence[Any], stderr: Any) -> dict[str, Any]:
    low: float | None
    high: float | None
    binary = bool(own) and all(one in (0, 1) for one in own)
    if binary and sum(own) / len(own) == value:
        low, high = wilson(int(sum(own)), len(own))
    elif isinstance(stderr, int | float):
        low, high = value - Z * stderr, value + Z * stderr
    else:
        low = high = None
    share = all(isinstance(one, int | float) and 0 <= one <= 1 for one in own) and 0 <= value <= 1
    counts = {"n": n, "faults": 0, "by_capability": {}}
    return {"score": value, "low": low, "high": high, "share": share, **counts}


def _count(results: Mapping[str, Any], task: str) -> int:
    """The documents of a task, or of all tasks of a group."""
    counts = results["n-samples"]
    if task in counts:
        return int(counts[task]["effective"])
    return sum(_count(results, one) for one in results.get("group_subtasks", {}).get(task, ()))


def score_text(figure: Mapping[str, Any]) -> str:
    """`score [low, high]`, of a share in per cent; a perplexity is none."""
    factor, digits = (100, 1) if figure["share"] else (1, 4)
    text = f"{factor * figure['score']:.{digits}f}{'' if figure['share'] else ' (no share)'}"
    if figure["low"] is None:
        return text
    return f"{text} [{factor * figure['low']:.{digits}f}, {factor * figure['high']:.{digits}f}]"


def harness_table(document: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the printed table, the header first, as those of our suites."""
    figures = {name: parts[FINAL] for name, parts in document["suites"].items()}
    rows = [[name, str(figure["n"]), score_text(figure)] for name, figure in figures.items()]
    return [["suite (%)", "n", "score"], *rows]
