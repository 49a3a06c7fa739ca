"""Online RL: GRPO on a curriculum that the policy keeps re-filtering, rollouts from vLLM in the same process."""

import shutil
from collections import Counter
from pathlib import Path

from peft import PeftModel
from trl import GRPOConfig

from common.files import append_json_line, read_json_lines, write_json
from common.seeds import derive
from common.stage import Inputs, Outputs, StageContext
from curriculum.account import FATES, PREDICTIONS
from curriculum.curriculum import begin_stage
from curriculum.database import settle
from curriculum.ledger import Ledger
from curriculum.plots import PREFIX, plot
from models.checkpoint import load_policy
from prompts.schema import read_prompts
from rewards.grade import grade
from rollouts.engine import Engine
from stages.health import FIGURES
from stages.resume import go_on
from stages.rl.config import RlStage
from stages.rl.kl import Reference
from stages.rl.packed import shared_rows
from stages.rl.practice import Practice, Practised
from stages.rl.trainer import CurriculumTrainer
from stages.train import Trained, arguments, fit, load, picked, save

CURRICULUM = tuple(
    PREFIX + name
    for name in (
        *("committed_mixed_share", "start_difficulty", "foretold/brier", "foretold/calibration_error"),
        *("saved_rollouts", "saved_tokens", *(f"tokens/{fate}" for fate in FATES)),
    )
)
"""Figures of the curriculum that the stage's record keeps."""
PROBES = 4
"""Sequences that the parity check compares after every sync."""


def run(config: RlStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/`, `ledger.sqlite`, `groups.jsonl`, `parity.json`, `prompts.parquet`, `metrics.jsonl`, and of
    the curriculum `curriculum.png` and `reliability.json`."""
    start = go_on(context)
    prompts = read_prompts(inputs["filter"] / "prompts.parquet")
    # The judge's or an earlier RL stage's ledger on a fresh start, the checkpoint's when the stage goes on.
    ledger = Ledger.restore((start or inputs["filter"]) / "ledger.sqlite", context.folder / "ledger.sqlite")
    if start is None:
        begin_stage(ledger)
    checkpoint = inputs["checkpoint"] / "checkpoint"
    engine = Engine(checkpoint, config.rollouts, derive(context.seed, "engine"))
    trained = load(config, checkpoint, context.seed)
    practice = Practice(config, {p.id: p for p in prompts}, ledger, engine, grade, derive(context.seed, "practice"))
    trainer = trainer_of(config, context, trained, practice, reference_of(config, trained, checkpoint))
    last = fit(
        trainer,
        config,
        context,
        start=start,
        probe=[variants[0] for variants in practice.encoded.values()],
        shown=("reward", "mixed_share", "parity/rollout_gap"),
        extra=lambda folder: ledger.snapshot(folder / "ledger.sqlite"),
    )
    write_json(context.folder / "parity.json", trainer.proof())
    engine.close()
    save(trained, context)
    shutil.copyfile(inputs["filter"] / "prompts.parquet", context.folder / "prompts.parquet")
    account = practice.curriculum.account
    write_json(context.folder / "reliability.json", {k: getattr(account, k).curve() for k in PREDICTIONS})
    plot(read_json_lines(context.folder / "metrics.jsonl"), account, context.folder / "curriculum.png")
    counts = ledger.counts()
    ledger.close()
    settle(context.folder / "ledger.sqlite")
    names = (
        "reward",
        "mixed_share",
        "entropy",
        "kl",
        "parity/rollout_gap",
        "parity/largest_gap",
        *FIGURES,
        *CURRICULUM,
    )
    metrics = {"steps": trainer.state.global_step, **picked(last, names), **counts}
    totals = last["tokens_generated_total"], last["tokens_trained_total"]
    return Outputs(metrics=metrics, tokens_generated=int(totals[0]), tokens_trained=int(totals[1]))


def reference_of(config: RlStage, trained: Trained, checkpoint: Path) -> Reference | None:
    """What the KL term holds the policy to, if there is one: the policy without its adapters, or the weights that the
    stage started from once more."""
    if not config.kl_weight:
        return None
    adapters = isinstance(trained.policy, PeftModel)
    policy = trained.policy if adapters else load_policy(checkpoint).requires_grad_(False).eval()
    return Reference(config.kl_weight, policy, adapters)


def trainer_of(
    config: RlStage, context: StageContext, trained: Trained, practice: Practice, reference: Reference | None = None
) -> CurriculumTrainer:
    """The trainer of a stage's policy, whose groups come from `practice`."""
    totals = _totals(context)
    short: set[str] = set()

    def practise(step: int) -> Practised:
        done = practice.step(step)
        new = {name for name, places in done.moved.items() if places < 0} - short
        if new:
            short.update(new)
            context.note(f"step {step}: too few useful prompts of {', '.join(sorted(new))}; others take their places")
        for group in done.everything:
            append_json_line(context.folder / "groups.jsonl", group.to_json(step, config.system_prompts))
        totals["generated"] += done.tokens
        rows = [row for group in done.chosen for row in shared_rows(group)]
        totals["trained"] += sum(len(prompt) + sum(map(len, completions)) for prompt, completions in rows)
        done.metrics |= {**_metrics(done, practice.ledger), **{f"tokens_{k}_total": v for k, v in totals.items()}}
        return done

    chosen = list(practice.prompts.values())[:PROBES]
    answers = [practice.engine.encode_text(prompt.answer)[: config.max_tokens] for prompt in chosen]
    probes = [practice.encoded[prompt.id][0] for prompt in chosen], answers
    return CurriculumTrainer(
        policy=trained.policy,
        args=_grpo(config, context),
        tokenizer=trained.tokenizer,
        engine=practice.engine,
        practise=practise,
        probes=probes,
        tolerance=config.parity_tolerance,
        reference=reference,
    )


def _grpo(config: RlStage, context: StageContext) -> GRPOConfig:
    rows = arguments(config, context, config.prompts_per_step * config.group_size)
    return GRPOConfig(
        **rows,
        max_steps=config.steps,
        num_generations=config.group_size,
        max_completion_length=config.max_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        beta=0.0,
        use_bias_correction_kl=True,
        loss_type="dapo",
        # The curriculum persists what it needs; there is no data to skip.
        ignore_data_skip=True,
    )


def _metrics(done: Practised, ledger: Ledger) -> dict[str, float]:
    groups = [group for group in done.everything if not group.probe]
    graded = sum(len(group.usable) for group in groups)
    faults = sum((group.faults for group in done.everything), Counter[str]())
    values = {
        "reward": sum(group.passes for group in groups) / graded if graded else 0.0,
        "mixed_share": len(done.chosen) / len(groups) if groups else 0.0,
        "groups": len(groups),
        "rollouts": sum(len(group.members) for group in done.everything),
        "tokens_generated": done.tokens,
        "probed": len(done.everything) - len(groups),
    }
    values |= {f"faults/{reason}": count for reason, count in sorted(faults.items())}
    return {**values, **{f"ledger/{state}": count for state, count in ledger.counts().items()}}


def _totals(context: StageContext) -> dict[str, float]:
    """Token counts so far, from the last step's metrics."""
    rows = read_json_lines(context.folder / "metrics.jsonl")
    last = rows[-1] if rows else {}
    return {name: last.get(f"tokens_{name}_total", 0) for name in ("generated", "trained")}
