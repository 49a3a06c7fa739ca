"""Online RL: GRPO on a curriculum that the policy keeps re-filtering, rollouts from vLLM in the
same process."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from peft import PeftModel
from trl import GRPOConfig

from common.errors import Interrupted
from common.faults import NOT_ENCODED
from common.files import append_json_line, read_json_lines, write_json
from common.seeds import derive
from common.stage import Inputs, Outputs, StageContext
from curriculum.accounting import FATES, PREDICTIONS
from curriculum.curriculum import begin_stage
from curriculum.database import settle
from curriculum.ledger import Ledger
from curriculum.plots import PREFIX, plot
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from models.checkpoint import load_policy
from prompts.schema import Prompt, read_prompts
from rewards.grade import grade
from rollouts.engine import Engine
from stages.rl.collector import RolloutCollector, StepBatch
from stages.rl.config import RlStage
from stages.rl.kl import Reference
from stages.rl.notes import Notes
from stages.rl.packed import shared_rows
from stages.rl.trainer import RlTrainer
from training.divergence import FAULTS
from training.fit import Trained, arguments, fit, load, picked, save
from training.resume import go_on
from training.router_metrics import FIGURES, PROBE, spread_out

CURRICULUM = tuple(
    PREFIX + name
    for name in (
        *(
            "committed_mixed_share",
            "start_difficulty",
            "predicted/brier",
            "predicted/calibration_error",
        ),
        *("saved_rollouts", "saved_tokens", *(f"tokens/{fate}" for fate in FATES)),
    )
)
"""Figures of the curriculum that the stage's record keeps."""
PROBES = 4
"""Sequences that the parity check compares after every sync."""
FLAT = Beta(1.0, 1.0)
"""Prior of a prompt that no judge saw: every pass rate is as likely."""


def run(config: RlStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/`, `ledger.sqlite`, `groups.jsonl`, `parity.json`, `prompts.parquet`,
    `metrics.jsonl`, and of the curriculum `curriculum.png` and `reliability.json`."""
    start = go_on(context)
    prompts = read_prompts(inputs["filter"] / "prompts.parquet")
    ledger = open_ledger(
        prompts, start or inputs["filter"], context.folder / "ledger.sqlite", start is None
    )
    checkpoint = inputs["checkpoint"] / "checkpoint"
    engine = Engine(checkpoint, config.rollouts, derive(context.seed, "engine"))
    trained = load(config, checkpoint, context.seed)
    collector = RolloutCollector(
        config, {p.id: p for p in prompts}, ledger, engine, grade, derive(context.seed, "practice")
    )
    trainer = trainer_of(
        config, context, trained, collector, reference_of(config, trained, checkpoint)
    )
    collector.between = between(context, trainer)
    last = fit(
        trainer,
        config,
        context,
        start=start,
        probe=[
            collector.encoded(p.id)[0]
            for p in spread_out(prompts, PROBE)
            if collector.unfit(p.id) != NOT_ENCODED
        ],
        shown=("reward", "mixed_share", "parity/rollout_gap"),
        extra=lambda folder: ledger.snapshot(folder / "ledger.sqlite"),
    )
    write_json(context.folder / "parity.json", trainer.proof())
    engine.close()
    save(trained, context)
    shutil.copyfile(inputs["filter"] / "prompts.parquet", context.folder / "prompts.parquet")
    accounting = collector.curriculum.accounting
    write_json(
        context.folder / "reliability.json",
        {k: getattr(accounting, k).curve() for k in PREDICTIONS},
    )
    plot(
        read_json_lines(context.folder / "metrics.jsonl"),
        accounting,
        context.folder / "curriculum.png",
    )
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
    """What the KL term holds the policy to, if there is one: the policy without its adapters, or
    the weights that the stage started from once more."""
    if not config.kl_weight:
        return None
    adapters = isinstance(trained.policy, PeftModel)
    policy = trained.policy if adapters else load_policy(checkpoint).requires_grad_(False).eval()
    return Reference(config.kl_weight, policy, adapters)


def open_ledger(prompts: Sequence[Prompt], source: Path, path: Path, fresh: bool) -> Ledger:
    """The stage's ledger at `path`: a checkpoint's when the stage goes on; on a fresh start the
    judge's or an earlier RL stage's, or where it practises on the plain prompts a new one, in which
    nothing is known of any."""
    if fresh and (source / "held_out.parquet").exists():  # a `prompts` stage: nobody judged them
        ledger = Ledger(path)
        ledger.add(
            NewPrompt(p.id, p.capability, p.source, FLAT, settings=p.difficulty) for p in prompts
        )
        return ledger
    ledger = Ledger.restore(source / "ledger.sqlite", path)
    if fresh:
        begin_stage(ledger)
    return ledger


def trainer_of(
    config: RlStage,
    context: StageContext,
    trained: Trained,
    collector: RolloutCollector,
    reference: Reference | None = None,
) -> RlTrainer:
    """The trainer of a stage's policy, whose groups come from `collector`."""
    totals = _totals(context)
    tell = Notes(collector.prompts, collector.room, context.note)

    def collect(step: int) -> StepBatch:
        done = collector.step(step)
        tell.step(step, done)
        for group in done.everything:
            append_json_line(
                context.folder / "groups.jsonl", group.to_json(step, config.system_prompts)
            )
        totals["generated"] += done.tokens
        rows = [row for parts in done.passes for part in parts for row in shared_rows(part)]
        totals["trained"] += sum(
            len(prompt) + sum(map(len, completions)) for prompt, completions in rows
        )
        done.metrics |= {
            **_metrics(done, collector.ledger),
            **{f"tokens_{k}_total": v for k, v in totals.items()},
        }
        return done

    chosen = collector.fitting(PROBES)
    answers = [
        collector.engine.encode_text(collector.prompts[id].answer)[: config.max_tokens]
        for id in chosen
    ]
    probes = [collector.encoded(id)[0] for id in chosen], answers
    return RlTrainer(
        policy=trained.policy,
        args=_grpo(config, context),
        tokenizer=trained.tokenizer,
        engine=collector.engine,
        collect=collect,
        probes=probes,
        tolerance=config.parity_tolerance,
        reference=reference,
    )


def between(context: StageContext, trainer: RlTrainer) -> Callable[[bool], None]:
    """What happens between two chunks of a step's rollouts: the run hears that the stage lives, and
    a stop is heeded.

    A step that has booked rollouts is finished first: what goes on from a checkpoint begins its
    step anew."""

    def look(booked: bool) -> None:
        step = trainer.state.global_step
        context.progress(step, trainer.args.max_steps, unit="step")
        if context.stop_requested() and not booked:
            if step:
                trainer.keep()
            raise Interrupted(
                "stopped as asked; the stage goes on from here", "run the same command again"
            )

    return look


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


def _metrics(done: StepBatch, ledger: Ledger) -> dict[str, float]:
    groups = [group for group in done.everything if not group.probe]
    graded = sum(len(group.usable) for group in groups)
    faults = sum((group.faults for group in done.everything), Counter(done.unfit.values()))
    cut_off = sum(member.cut_off for group in done.everything for member in group.members)
    rollouts = sum(len(group.members) for group in done.everything)
    values = {
        "reward": sum(group.passes for group in groups) / graded if graded else 0.0,
        "mixed_share": len(done.chosen) / len(groups) if groups else 0.0,
        "groups": len(groups),
        "rollouts": rollouts,
        "cut_off_share": cut_off / rollouts if rollouts else 0.0,
        "tokens_generated": done.tokens,
        "probed": len(done.everything) - len(groups),
    }
    values |= {f"{FAULTS}{reason}": count for reason, count in sorted(faults.items()) if count}
    return {**values, **{f"ledger/{state}": count for state, count in ledger.counts().items()}}


def _totals(context: StageContext) -> dict[str, float]:
    """Token counts so far, from the last step's metrics."""
    rows = read_json_lines(context.folder / "metrics.jsonl")
    last = rows[-1] if rows else {}
    return {name: last.get(f"tokens_{name}_total", 0) for name in ("generated", "trained")}
