"""What to worry about, in words: rules over a run's part of the document, one function each.

`worry`: look at this before you trust the scores. `note`: good to know."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from report.sections import worries_of_scores as scores
from report.sections import worries_of_training as training
from report.sections.words import listed

Run = Mapping[str, Any]
Rule = Callable[[Run], Iterator[tuple[str, str]]]
"""From a run's part of the document to pairs of level and sentence."""


def unfinished(run: Run) -> Iterator[tuple[str, str]]:
    """Stages that are failed, stale or not run."""
    for state, what in (
        ("failed", "failed; its last message stands under “What ran”"),
        ("stale", "is stale: its settings or inputs have changed since, so it is not used here"),
    ):
        for stage in run["ran"]["rows"]:
            if stage["state"] == state:
                yield "worry", f"Stage {stage['id']} {what}."
    waiting = [one["id"] for one in run["ran"]["rows"] if one["state"] in ("todo", "running")]
    if waiting:
        yield "note", f"Not finished: {listed(waiting)}. The report shows what there is."


def uncommitted(run: Run) -> Iterator[tuple[str, str]]:
    """Code that nobody can check out again, or several versions of it."""
    commits = [one["commit"] for one in run["provenance"]["environments"]]
    if any(commit and commit.endswith("+dirty") for commit in commits):
        yield (
            "worry",
            "Code with uncommitted changes made a part of this run: it cannot be checked out"
            " again.",
        )
    if None in commits:
        yield "note", "The commit of the code is not known for a part of this run."
    if len(set(commits)) > 1:
        yield "note", f"{len(set(commits))} versions of the code made this run."


RULES: tuple[Rule, ...] = (
    unfinished,
    scores.not_evaluated,
    scores.ends_worse,
    scores.refused,
    scores.no_clear_change,
    scores.small_suites,
    scores.no_score,
    scores.cut_off_answers,
    scores.faulty_answers,
    scores.no_dev_part,
    training.reward_without_dev,
    training.out_of_reach,
    training.few_mixed_groups,
    training.cut_off_rollouts,
    training.entropy_gone,
    training.parity_near_its_limit,
    training.idle_experts,
    training.weak_judge,
    training.doubtful_prompts,
    uncommitted,
)


def worries(run: Run) -> list[dict[str, str]]:
    """What the rules say, the worries before the notes."""
    said = [
        {"rule": rule.__name__, "level": level, "text": text}
        for rule in RULES
        for level, text in rule(run)
    ]
    return sorted(said, key=lambda one: one["level"] != "worry")
