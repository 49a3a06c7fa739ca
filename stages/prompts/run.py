"""Gather prompts, refuse those that could not be graded, split off the held-out ones."""

from collections import Counter

from common.errors import BadInput
from common.stage import Inputs, Outputs, StageContext
from prompts.schema import Prompt, write_prompts
from prompts.sources import load_source
from prompts.split import Split, split
from rewards.grade import check_prompt
from stages.prompts.config import PromptsStage


def run(config: PromptsStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `prompts.parquet` (training) and `held_out.parquet`, which share no id and no text."""
    if not config.sources:
        raise BadInput("prompts: the recipe names no source", "add one under `prompts`")
    loaded: list[tuple[list[Prompt], float]] = []
    for number, source in enumerate(config.sources):
        prompts = load_source(source)
        for prompt in prompts:
            check_prompt(prompt)
        loaded.append((prompts, source.held_out))
        context.progress(number + 1, len(config.sources), unit="source", prompts=sum(len(part) for part, _ in loaded))
    result = split(loaded, context.seed)
    write_prompts(context.folder / "prompts.parquet", result.training)
    write_prompts(context.folder / "held_out.parquet", result.held_out)
    return Outputs(metrics=_metrics(result))


def _metrics(result: Split) -> dict[str, object]:
    by_source, by_capability = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for part, prompts in (("training", result.training), ("held_out", result.held_out)):
        for prompt in prompts:
            by_source[prompt.source, part] += 1
            by_capability[prompt.capability, part] += 1
    for part, dropped in (("duplicates", result.duplicates), ("overlaps", result.overlaps)):
        for source, count in dropped.items():
            by_source[source, part] = count
    return {
        "training": len(result.training),
        "held_out": len(result.held_out),
        "dropped_duplicates": result.duplicates.total(),
        "dropped_overlaps": result.overlaps.total(),
        "by_source": _table(by_source, ("training", "held_out", "duplicates", "overlaps")),
        "by_capability": _table(by_capability, ("training", "held_out")),
    }


def _table(counts: Counter[tuple[str, str]], columns: tuple[str, ...]) -> dict[str, dict[str, int]]:
    return {name: {column: counts[name, column] for column in columns} for name in sorted({key for key, _ in counts})}
