"""Drop the prompts that a judge finds easiest, and remember what it said as priors of the difficulty ledger."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.files import write_text
from common.seeds import derive
from common.stage import Inputs, Outputs, StageContext
from curriculum.ledger import Ledger
from curriculum.posterior import judge_prior
from curriculum.rows import Entry
from judges.attempts import Source, judge_attempts
from judges.config import AttemptsJudge
from judges.cut import Decision, cut_easiest, drop_counts
from judges.verdict import Verdict
from prompts.sample import sample
from prompts.schema import Prompt, read_prompts, write_prompts
from rewards.grade import grade
from stages.judge_filter.config import JudgeFilterStage


def run(config: JudgeFilterStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `prompts.parquet` (kept), `dropped.parquet`, `reasons.jsonl`, `verdicts.jsonl` and `ledger.sqlite`."""
    prompts = sample(read_prompts(inputs["prompts"] / "prompts.parquet"), config.limit, context.seed)
    sizes = Counter(prompt.capability for prompt in prompts)
    drop_counts(sizes, config.drop_easiest)  # refuses an impossible share before the judge is asked
    with _source(config.judge, context) as source:
        verdicts = judge_attempts(
            prompts,
            source,
            grade,
            context.folder / "verdicts.jsonl",
            derive(context.seed, "judge"),
            context.progress,
            context.stop_requested,
        )
    capabilities = {prompt.id: prompt.capability for prompt in prompts}
    kept, out = cut_easiest(verdicts, capabilities, config.drop_easiest, derive(context.seed, "cut"))
    _write(context.folder, prompts, verdicts, kept, out)
    tokens = sum(attempt.tokens for verdict in verdicts for attempt in verdict.attempts)
    return Outputs(metrics=_metrics(verdicts, kept, out), tokens_generated=tokens)


@contextmanager
def _source(judge: AttemptsJudge, context: StageContext) -> Iterator[Source]:
    """The judge, closed again when the attempts are in."""
    if judge.model is None:
        from judges.endpoint import EndpointSource

        endpoint = EndpointSource(judge)
        try:
            yield endpoint
        finally:
            endpoint.close()
        return
    from judges.engine import EngineSource
    from models.packaged import resolve_dense
    from rollouts.engine import Engine

    engine = Engine(resolve_dense(judge.model), judge.rollouts, derive(context.seed, "engine"))
    try:
        yield EngineSource(engine, judge)
    finally:
        engine.close()


def _write(
    folder: Path,
    prompts: Sequence[Prompt],
    verdicts: Sequence[Verdict],
    kept: Sequence[Decision],
    out: Sequence[Decision],
) -> None:
    ids = {decision.id for decision in kept}
    write_prompts(folder / "prompts.parquet", [prompt for prompt in prompts if prompt.id in ids])
    write_prompts(folder / "dropped.parquet", [prompt for prompt in prompts if prompt.id not in ids])
    decisions = {decision.id: decision for decision in [*kept, *out]}
    lines = [json.dumps(asdict(decisions[prompt.id]), ensure_ascii=False, allow_nan=False) for prompt in prompts]
    write_text(folder / "reasons.jsonl", "".join(f"{line}\n" for line in lines))
    with Ledger(None) as ledger:
        ledger.add(_entries([prompt for prompt in prompts if prompt.id in ids], prompts, verdicts))
        ledger.snapshot(folder / "ledger.sqlite")


def _entries(kept: Sequence[Prompt], prompts: Sequence[Prompt], verdicts: Sequence[Verdict]) -> list[Entry]:
    """The kept prompts with their priors; a capability's pooled rate is over all its judged prompts."""
    passed: Counter[str] = Counter()
    graded: Counter[str] = Counter()
    by_id = {verdict.id: verdict for verdict in verdicts}
    for prompt in prompts:
        passed[prompt.capability] += by_id[prompt.id].passed
        graded[prompt.capability] += by_id[prompt.id].graded
    entries = []
    for prompt in kept:
        verdict, group = by_id[prompt.id], prompt.capability
        prior = judge_prior(verdict.passed, verdict.graded, passed[group], graded[group])
        entries.append(Entry(prompt.id, group, prompt.source, prior, verdict.summary(), prompt.difficulty))
    return entries


def _metrics(verdicts: Sequence[Verdict], kept: Sequence[Decision], out: Sequence[Decision]) -> dict[str, Any]:
    judged = [verdict for verdict in verdicts if verdict.graded]
    attempts = sum(len(verdict.attempts) for verdict in verdicts)
    faults: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    for verdict in verdicts:
        faults.update(verdict.faults)
        notes.update([verdict.reference_note] if verdict.reference_note else [])
    return {
        "prompts": len(verdicts),
        "kept": len(kept),
        "dropped": sum(decision.decision == "dropped" for decision in out),
        "unjudged": sum(decision.decision == "unjudged" for decision in out),
        "pass_rate": _pass_rate(judged),
        "all_pass_share": sum(verdict.passed == verdict.graded for verdict in judged) / len(judged),
        "all_fail_share": sum(verdict.passed == 0 for verdict in judged) / len(judged),
        "cut_off_share": sum(verdict.cut_off for verdict in verdicts) / attempts,
        "unreadable_share": sum(verdict.unreadable for verdict in verdicts) / attempts,
        "faults": dict(sorted(faults.items())),
        "without_reference": dict(sorted(notes.items())),
        "capabilities": _by_capability(judged, [*kept, *out]),
    }


def _by_capability(judged: Sequence[Verdict], decisions: Sequence[Decision]) -> dict[str, dict[str, Any]]:
    groups: defaultdict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        groups[decision.capability].append(decision)
    by_id = {verdict.id: verdict for verdict in judged}
    found = {}
    for capability, members in sorted(groups.items()):
        counts = Counter(decision.decision for decision in members)
        rate = _pass_rate([by_id[decision.id] for decision in members if decision.id in by_id])
        found[capability] = {name: counts[name] for name in ("kept", "dropped", "unjudged")} | {"pass_rate": rate}
    return found


def _pass_rate(judged: Sequence[Verdict]) -> float:
    """Passed attempts over graded ones."""
    return sum(verdict.passed for verdict in judged) / sum(verdict.graded for verdict in judged)
