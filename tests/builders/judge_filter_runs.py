"""Runs of the judge filter stage in a test's folder."""

from typing import Any

from common.stage import StageContext
from prompts.schema import write_prompts
from stages.judge_filter.config import JudgeFilterStage
from stages.judge_filter.run import run


def stage_context(folder, **settings):
    """A context that reports nowhere and is never asked to stop, unless `settings` say so."""
    folder.mkdir(parents=True, exist_ok=True)
    defaults: dict[str, Any] = {"progress": lambda *_, **__: None, "threads": 1}
    defaults |= {"stop_requested": lambda: False}
    return StageContext(folder, 7, **(defaults | settings))


def run_filter(folder, judges, prompts, *, share=0.5, context=None, **config):
    """Filter `prompts`; gives the stage's outputs and its folder, `folder / "out"`."""
    (folder / "in").mkdir(exist_ok=True)
    write_prompts(folder / "in" / "prompts.parquet", prompts)
    stage = JudgeFilterStage(
        id="filter",
        kind="judge_filter",
        judges=tuple(judges) if isinstance(judges, list | tuple) else (judges,),
        drop_easiest=share,
        **config,
    )
    out = folder / "out"
    return run(stage, {"prompts": folder / "in"}, stage_context(out, **(context or {}))), out
