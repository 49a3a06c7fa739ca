"""What a recipe will ask for, as far as its numbers alone tell: upper bounds, and nothing that
would be a guess."""

import math
from collections.abc import Mapping
from pathlib import Path

from evals.config import SuiteConfig
from pipeline.recipe.references import EVALUATION_PREFIX
from pipeline.recipe.schema import Recipe, Stage
from prompts.config import JsonlSource, PromptSource, ReasoningGymSource
from prompts.shards import read_bytes, shards
from stages.judge_filter.config import JudgeFilterStage
from stages.reference import BASE, PROMPTS
from stages.rl.config import RlStage


def expected(recipe: Recipe) -> dict[str, dict[str, int]]:
    """Node id to upper bounds by name. What depends on files of unknown length is left out."""
    counts = [_count(source) for source in recipe.prompts]
    prompts = None if None in counts else sum(filter(None, counts))
    found: dict[str, dict[str, int]] = {PROMPTS: _known({"prompts_at_most": prompts}), BASE: {}}
    kept: dict[str, int | None] = {PROMPTS: prompts}
    for stage in recipe.stages:
        found[stage.id] = _known(_stage(stage, kept))
        kept[stage.id] = kept[stage.on] if stage.kind == "rl" else None
        if stage.kind == "judge_filter":
            judged = _judged(stage, prompts)
            kept[stage.id] = (
                None if judged is None else math.ceil(judged * (1 - stage.drop_easiest))
            )
    if recipe.evaluate:
        asked = _evaluation(recipe, recipe.evaluate.suites)
        found |= {f"{EVALUATION_PREFIX}{stage}": asked for stage in recipe.evaluate.after}
    return found


def _known(values: Mapping[str, int | None]) -> dict[str, int]:
    return {name: value for name, value in values.items() if value is not None}


def _count(source: PromptSource) -> int | None:
    if isinstance(source, ReasoningGymSource):
        return source.count
    if isinstance(source, JsonlSource):
        files = shards(Path(source.path), source.source)
        return sum(bool(line.strip()) for file in files for line in read_bytes(file).split(b"\n"))
    return None


def _judged(stage: JudgeFilterStage, prompts: int | None) -> int | None:
    """Prompts that a judge is asked about; None where nobody knows."""
    return min((n for n in (prompts, stage.limit) if n is not None), default=None)


def _stage(stage: Stage, kept: Mapping[str, int | None]) -> dict[str, int | None]:
    if stage.kind == "judge_filter":
        judged = _judged(stage, kept[PROMPTS])
        if judged is None:
            return {}
        a_prompt = sum(judge.tokens for judge in stage.judges)
        return {"prompts_at_most": judged, "tokens_generated_at_most": judged * a_prompt}
    if stage.kind == "sft":
        prompts = min((n for n in (kept[stage.on], stage.limit) if n is not None), default=None)
        return {"sequences_at_most": None if prompts is None else math.ceil(prompts * stage.epochs)}
    if stage.kind == "rl":
        rollouts = _rl_rollouts(stage, kept)
        tokens = None if rollouts is None else rollouts * stage.max_tokens
        return {"steps": stage.steps, "tokens_generated_at_most": tokens}
    return {"pairs_at_most": stage.max_pairs} if stage.kind == "dpo" else {}


def _rl_rollouts(stage: RlStage, kept: Mapping[str, int | None]) -> int | None:
    """Rollouts at most; None where re-filtering probes a pool of unknown size."""
    curriculum = stage.curriculum
    step = stage.prompts_per_step * max(stage.group_size, getattr(curriculum, "largest_group", 0))
    if curriculum.kind in ("dynamic_sampling", "posterior"):
        step *= curriculum.max_rounds
    probes: int | None = 0
    if curriculum.kind == "posterior":
        probes = math.ceil(
            stage.steps * stage.prompts_per_step * stage.group_size * curriculum.probe_share
        )
    elif curriculum.kind == "refilter":
        pool, times = kept[stage.on], math.ceil(stage.steps / curriculum.refilter_every)
        probes = None if pool is None else times * pool * curriculum.probe_attempts
    return None if probes is None else stage.steps * step + probes


def _evaluation(recipe: Recipe, suites: tuple[SuiteConfig, ...]) -> dict[str, int]:
    """Answers and tokens where every suite's size is known: limited, or held out from sources that
    can be counted."""
    answers = tokens = 0
    for suite in suites:
        size = suite.limit
        if size is None and suite.name == "held_out":
            parts = [(_count(source), source.held_out) for source in recipe.prompts]
            size = (
                None
                if any(n is None for n, _ in parts)
                else sum(math.ceil((n or 0) * share) for n, share in parts)
            )
        if size is None:
            return {}
        answers, tokens = answers + size, tokens + size * suite.answer_length()
    return {"answers_at_most": answers, "tokens_generated_at_most": tokens}
