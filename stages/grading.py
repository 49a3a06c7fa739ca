"""The grader of a stage: every verifier there is, with the stage's cores, folder and voice."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from common.reply_cache import ReplyCache
from common.stage import StageContext
from evals.pairs import Pair
from judges.agreement import Agreement, agreements
from judges.cache import cache_path
from judges.open_judge import Judges
from judges.reward_compare import Compare
from judges.reward_rubric import Rubric
from prompts.schema import Prompt
from rewards.grader import Grade, Grader
from rewards.interface import Resources
from rewards.kinds import KINDS, Kinds

_JUDGES = Judges(lambda: ReplyCache(cache_path()))
ALL: Kinds = {**KINDS, "rubric": Rubric(_JUDGES), "compare": Compare(_JUDGES)}
"""The verifiers of `rewards/`, and those that ask a judge."""


def open_grader(context: StageContext | None = None) -> Grader:
    """A grader for a stage, or for a command without one. Close it in the end."""
    if context is None:
        cores = len(os.sched_getaffinity(0))
        return Grader(ALL, Resources(cores, lambda text: print(text, file=sys.stderr)))
    resources = Resources(context.threads, context.note, context.folder, context)
    return Grader(ALL, resources)


def agreement_of(pairs: Sequence[Pair], rows: Sequence[Mapping[str, Any]]) -> list[Agreement]:
    """Whether judges agree with verifiers on answers that `evals.grading` graded; empty where no
    answer has rewards of both."""
    groups: dict[str, tuple[Prompt, list[Grade]]] = {}
    for pair, row in zip(pairs, rows, strict=True):
        _, grades = groups.setdefault(pair.prompt_key, (pair.as_prompt(), []))
        grades.append(Grade(row["reward"], row["fault"], row["read"], row.get("parts", {})))
    return agreements(groups.values(), seed=0)
