"""Online RL: GRPO on a curriculum that is re-filtered with the policy, rollouts from vLLM in the
same process."""

from collections.abc import Callable

from transformers import TrainingArguments

from common.artifacts import CHECKPOINT, LEDGER, PARITY, PROMPTS
from common.errors import Interrupted
from common.faults import NOT_ENCODED
from common.seeds import derive
from common.stage import Inputs, Outputs, StageContext
from prompts.schema import read_prompts
from rewards.grade import grade
from rollouts.start import start_engine
from stages.rl.collector import RolloutCollector
from stages.rl.config import RlStage
from stages.rl.kl import Reference, reference_of
from stages.rl.ledgers import open_ledger
from stages.rl.outputs import (
    RECORDED,
    close_ledger,
    copy_prompts,
    write_curriculum,
)
from stages.rl.publish import Probe
from stages.rl.recorder import StepRecorder
from stages.rl.trainer import RlTrainer
from training.arguments import trainer_arguments
from training.loop import fit
from training.metrics_log import selected
from training.policy import Trained, load, save
from training.resume import go_on
from training.router_metrics import PROBE, spread_out

PARITY_PROBES = 4
"""Sequences that the parity check compares after every publication."""


def run(config: RlStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/`, `ledger.sqlite`, `groups.jsonl`, `parity.json`, `prompts.parquet`,
    `metrics.jsonl`, and of the curriculum `curriculum.png` and `reliability.json`."""
    start = go_on(context)
    source, checkpoint = inputs["prompts"], CHECKPOINT.path(inputs["checkpoint"])
    prompts = read_prompts(PROMPTS.path(source))
    ledger = open_ledger(prompts, start or source, LEDGER.path(context.folder), start is None)
    engine = start_engine(checkpoint, config.rollouts, derive(context.seed, "engine"), context)
    trained = load(config, checkpoint, context.seed)
    collector = RolloutCollector(
        config,
        {p.id: p for p in prompts},
        ledger,
        engine,
        grade,
        derive(context.seed, "practice"),
        context.execution.rows_per_forward,
    )
    reference = reference_of(config, trained.policy, checkpoint)
    trainer = build_trainer(config, context, trained, collector, reference)
    collector.before_chunk = stop_check(context, trainer)
    last = fit(
        trainer,
        config,
        context,
        start=start,
        probe=router_probe(collector),
        shown=("reward", "mixed_share", "parity/rollout_gap"),
        extra=lambda folder: ledger.snapshot(LEDGER.path(folder)),
    )
    PARITY.write(context.folder, trainer.proof())
    engine.close()
    save(trained, context)
    copy_prompts(source, context.folder)
    write_curriculum(collector.curriculum, context.folder)
    counts = close_ledger(ledger, context.folder)
    return Outputs(
        metrics={"steps": trainer.state.global_step, **selected(last, RECORDED), **counts},
        tokens_generated=int(last["tokens_generated_total"]),
        tokens_trained=int(last["tokens_trained_total"]),
    )


def build_trainer(
    config: RlStage,
    context: StageContext,
    trained: Trained,
    collector: RolloutCollector,
    reference: Reference | None = None,
) -> RlTrainer:
    """The trainer of a stage's policy, whose batches come from `collector`."""
    return RlTrainer(
        trained.policy,
        rl_arguments(config, context),
        trained.tokenizer,
        config=config,
        collector=collector,
        recorder=StepRecorder(collector, context),
        probe=parity_probe(collector),
        reference=reference,
    )


def rl_arguments(config: RlStage, context: StageContext) -> TrainingArguments:
    """Trainer's arguments of an RL stage."""
    return TrainingArguments(
        **trainer_arguments(config, context, config.prompts_per_step * config.group_size),
        max_steps=config.steps,
        # The curriculum persists what it needs; there is no data to skip.
        ignore_data_skip=True,
        # Every weight that trains has a part in every loss.
        ddp_find_unused_parameters=False,
    )


def parity_probe(collector: RolloutCollector) -> Probe:
    """A few prompts with their reference answers."""
    encoder, limit = collector.encoder, collector.config.max_tokens
    ids = encoder.usable(PARITY_PROBES)
    answers = [collector.engine.encode_text(collector.prompts[id].answer)[:limit] for id in ids]
    return Probe([encoder.variants(id)[0] for id in ids], answers)


def router_probe(collector: RolloutCollector) -> list[list[int]]:
    """Prompts on which the drift of the routing is measured."""
    encoder = collector.encoder
    ids = spread_out(list(collector.prompts), PROBE)
    return [encoder.variants(id)[0] for id in ids if encoder.unusable(id) != NOT_ENCODED]


def stop_check(context: StageContext, trainer: RlTrainer) -> Callable[[bool], None]:
    """What happens between two chunks of a step's rollouts: progress is reported, and a stop is
    heeded.

    A step that has booked rollouts is finished first: a stage that resumes begins its step anew.
    """

    def check(booked: bool) -> None:
        step = trainer.state.global_step
        context.progress(step, trainer.args.max_steps, unit="step")
        if context.stop_requested() and not booked:
            if step:
                trainer.save_last_step()
            raise Interrupted(
                "stopped as asked; the stage goes on from here", "run the same command again"
            )

    return check
