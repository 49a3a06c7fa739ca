"""Runs of the judge filter stage in a test's folder."""

from builders.contexts import stage_context
from prompts.schema import write_prompts
from stages.judge_filter.config import JudgeFilterStage
from stages.judge_filter.run import run


def filter_context(folder, **settings):
    """A context whose folder exists."""
    folder.mkdir(parents=True, exist_ok=True)
    return stage_context(folder, 7, **settings)


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
    return run(stage, {"prompts": folder / "in"}, filter_context(out, **(context or {}))), out
