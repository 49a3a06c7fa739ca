"""Gather prompts, refuse those that could not be graded, split off the held-out ones, drop what evaluations ask."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace

from common.errors import BadInput
from common.files import write_json_lines
from common.stage import Inputs, Outputs, StageContext
from evals.suites import packaged_prompts
from prompts.decontaminate import Evaluation, Finding, decontaminate
from prompts.schema import Prompt, write_prompts
from prompts.sources import load_source
from prompts.split import Split, split
from rewards.grade import check_prompt
from stages.prompts.config import PromptsStage


def run(config: PromptsStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `prompts.parquet` (training) and `held_out.parquet`, which share no id and no text.

    Training prompts that overlap a packaged suite are dropped and listed in `contaminated.jsonl`.
    """
    if not config.sources:
        raise BadInput("prompts: the recipe names no source", "add one under `prompts`")
    loaded: list[tuple[list[Prompt], float]] = []
    for number, source in enumerate(config.sources):
        prompts = load_source(source)
        for prompt in prompts:
            check_prompt(prompt)
        loaded.append((prompts, source.held_out))
        context.progress(number + 1, len(config.sources), unit="source", prompts=sum(len(part) for part, _ in loaded))
    result, evaluation = split(loaded, context.seed), packaged_prompts()
    kept, findings = decontaminate(result.training, evaluation)
    _refuse_emptied([prompts for prompts, _ in loaded], kept, findings)
    if findings:
        context.note(
            f"{len(findings)} training prompts overlap an evaluation suite and are dropped: contaminated.jsonl"
        )
    result = replace(result, training=kept)
    write_prompts(context.folder / "prompts.parquet", result.training)
    write_prompts(context.folder / "held_out.parquet", result.held_out)
    write_json_lines(context.folder / "contaminated.jsonl", map(asdict, findings))
    return Outputs(metrics=_metrics(result, findings, evaluation))


def _refuse_emptied(sources: Sequence[Sequence[Prompt]], kept: Sequence[Prompt], findings: Sequence[Finding]) -> None:
    """Raise BadInput if a source's training prompts were all dropped for what they overlap."""
    left = {prompt.id for prompt in kept}
    found = {finding.id: finding for finding in findings}
    for number, prompts in enumerate(sources):
        ids = list(dict.fromkeys(prompt.id for prompt in prompts))
        dropped = [found[name] for name in ids if name in found]
        if dropped and left.isdisjoint(ids):
            first = dropped[0]
            raise BadInput(
                f"prompts[{number}] ({first.source}): none of its {len(dropped)} training prompts is left, all overlap "
                f"evaluation suites: {first.id} has {first.text!r:.80} of {first.matched} ({first.suite})",
                "remove the source, or add prompts that no test set has",
            )


def _metrics(result: Split, findings: Sequence[Finding], evaluation: Sequence[Evaluation]) -> dict[str, object]:
    by_source, by_capability = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for part, prompts in (("training", result.training), ("held_out", result.held_out)):
        for prompt in prompts:
            by_source[prompt.source, part] += 1
            by_capability[prompt.capability, part] += 1
    contaminated = Counter(finding.source for finding in findings)
    columns = {"duplicates": result.duplicates, "overlaps": result.overlaps, "contaminated": contaminated}
    for part, dropped in columns.items():
        for source, count in dropped.items():
            by_source[source, part] = count
    by_suite = Counter(finding.suite for finding in findings)
    return {
        "training": len(result.training),
        "held_out": len(result.held_out),
        "dropped_duplicates": result.duplicates.total(),
        "dropped_overlaps": result.overlaps.total(),
        "dropped_contaminated": len(findings),
        "contaminated_by_suite": {suite: by_suite[suite] for suite in sorted({name for name, _ in evaluation})},
        "by_source": _table(by_source, ("training", "held_out", *columns)),
        "by_capability": _table(by_capability, ("training", "held_out")),
    }


def _table(counts: Counter[tuple[str, str]], columns: tuple[str, ...]) -> dict[str, dict[str, int]]:
    return {name: {column: counts[name, column] for column in columns} for name in sorted({key for key, _ in counts})}
