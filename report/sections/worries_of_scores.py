"""Rules about evaluations (`report/sections/worries.py`)."""

from collections.abc import Iterator, Mapping
from typing import Any

from report.sections.words import change, listed, percent

Run = Mapping[str, Any]
Said = Iterator[tuple[str, str]]
SMALL = 100
"""Prompts of a suite below which its interval is wider than 10 points to either side."""
CUT_OFF, FAULTY = 0.1, 0.02
"""Shares of answers from which a cut-off or a fault is a worry."""


def not_evaluated(run: Run) -> Said:
    """Without an evaluation nothing is known."""
    if not run["evaluations"]:
        yield "worry", "No evaluation is finished: whether training helped is not known."


def ends_worse(run: Run) -> Said:
    """The last checkpoint is worse than the first one, or any is worse than the one before it."""
    ends, told = run["first_and_last"], set[tuple[str, str, float]]()
    for suite in _compared(run):
        if suite["after"]["verdict"] == "worse":
            told.add((ends["last"], suite["name"], suite["after"]["change"]))
            yield (
                "worry",
                f"{ends['last']} is worse than {ends['first']} on {suite['name']}:"
                f" {change(suite['after'])}.",
            )
    for one in run["evaluations"]:
        for suite in one["suites"]:
            known = (one["stage"], suite["name"], suite["change"]) in told
            if suite["verdict"] == "worse" and "/" not in suite["name"] and not known:
                yield (
                    "worry",
                    f"{one['stage']} made {suite['name']} worse: {change(suite)} against the"
                    " checkpoint before it.",
                )


def refused(run: Run) -> Said:
    """Checkpoints that a gate refused, or let pass in doubt."""
    follows = {"stop": "the run ended", "parent": "later stages went on from its parent"}
    for one in run["gates"]:
        text = f"{one['stage']}: {one['message'].removeprefix('gate: ')}"
        if not one["passed"]:
            then = follows.get(one["then"], "the run went on with it, as the recipe says")
            yield "worry", f"A gate refused {text}; {then}."
        elif one["message"]:
            yield "note", f"A gate doubted {text}."


def no_clear_change(run: Run) -> Said:
    """First and last checkpoint cannot be told apart."""
    names = [one["name"] for one in _compared(run) if one["after"]["verdict"] is None]
    if names:
        ends = run["first_and_last"]
        yield (
            "worry",
            f"On {listed(names)}, {ends['last']} and {ends['first']} cannot be told apart: the"
            " difference may be chance.",
        )


def _compared(run: Run) -> list[Mapping[str, Any]]:
    ends = run["first_and_last"]
    suites = ends["suites"] if ends else []
    return [one for one in suites if one["before"] and one["after"]["change"] is not None]


def small_suites(run: Run) -> Said:
    """Intervals that are too wide to show much."""
    sizes = {
        suite["name"]: suite["n"]
        for one in run["evaluations"]
        for suite in one["suites"]
        if "/" not in suite["name"] and 0 < suite["n"] < SMALL
    }
    for name, n in sizes.items():
        yield (
            "worry",
            f"{name} has only {n} prompts in its final part: small differences are noise.",
        )


def no_score(run: Run) -> Said:
    """Suites of which nothing could be graded."""
    for one in run["evaluations"]:
        names = [suite["name"] for suite in one["suites"] if suite["value"] is None]
        if names:
            yield "worry", f"{one['stage']} has no score on {listed(names)}: nothing was graded."


def cut_off_answers(run: Run) -> Said:
    """Answers that the limit of tokens ended; a worry if the last checkpoint still gives them."""
    by_suite: dict[str, dict[str, float]] = {}
    for one in run["evaluations"]:
        for part in one["answers"]:
            share = part["cut_off"] / part["asked"] if part["asked"] else 0.0
            by_suite.setdefault(part["suite"], {})[one["stage"]] = share
    for suite, shares in by_suite.items():
        many = [f"{stage} {percent(share)}" for stage, share in shares.items() if share > CUT_OFF]
        if many:
            level = "worry" if [*shares.values()][-1] > CUT_OFF else "note"
            yield level, f"Answers to {suite} cut off at the limit of tokens: {', '.join(many)}."


def faulty_answers(run: Run) -> Said:
    """Answers that could not be graded."""
    for one in run["evaluations"]:
        for part in one["answers"]:
            if bad := part["faults"] + part["too_long"]:
                level = "worry" if bad > FAULTY * part["asked"] else "note"
                yield (
                    level,
                    f"{one['stage']} on {part['suite']}: of {part['asked']} answers"
                    f" {part['faults']} could not be graded, and {part['too_long']} prompts were"
                    " too long.",
                )


def no_dev_part(run: Run) -> Said:
    """Suites by which nothing may be chosen."""
    names = {
        suite["name"]: None
        for one in run["evaluations"]
        for suite in one["suites"]
        if suite["dev"]["n"] == 0 and "/" not in suite["name"]
    }
    if names:
        yield (
            "note",
            f"{listed(names)}: only the final part was asked. Whoever chooses between recipes by"
            " it makes the chosen score too high.",
        )
