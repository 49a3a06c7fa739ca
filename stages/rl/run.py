"""Online RL: GRPO on a curriculum that is re-filtered with the policy, rollouts from vLLM in the
same process or from servers."""

from collections.abc import Callable
from pathlib import Path

from transformers import TrainingArguments

from common.artifacts import CHECKPOINT, LEDGER, PARITY, PROMPTS
from common.errors import BadInput, Interrupted
from common.faults import NOT_ENCODED
from common.seeds import derive
from common.stage import Inputs, Outputs, StageContext
from prompts.schema import Prompt, read_prompts
from rewards.grader import Grader
from rollouts.start import start_engine
from stages.grading import open_grader
from stages.rl.agreement import check_agreement
from stages.rl.ahead import StepRollouts
from stages.rl.collector import RolloutCollector
from stages.rl.config import RlStage
from stages.rl.kl import Reference, reference_of
from stages.rl.leader import Leader
from stages.rl.ledgers import open_ledger
from stages.rl.outputs import (
    RECORDED,
    close_ledger,
    copy_prompts,
    write_curriculum,
)
from stages.rl.own_evaluation import OwnEvaluation, own_evaluation
from stages.rl.recorder import StepRecorder
from stages.rl.trainer import RlTrainer
from training import processes
from training.arguments import trainer_arguments
from training.loop import fit
from training.metrics_log import selected
from training.policy import Trained, load, save
from training.publish import PARITY_PROBES, Probe, parity_probe
from training.resume import go_on
from training.router_metrics import PROBE, spread_out

SHOWN = ("reward", "dev/score", "mixed_share", "parity/rollout_gap", "parity/rollout_drift")
"""Figures that progress reports, where they are there."""


def run(config: RlStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/`, `ledger.sqlite`, `groups.jsonl`, `parity.json`, `prompts.parquet`,
    `metrics.jsonl`, of the curriculum `curriculum.png` and `reliability.json`, and of the stage's
    own evaluation `dev.jsonl`."""
    processes.join(context)
    with open_grader(context) as grader:
        return _train(config, inputs, context, grader)


def _train(config: RlStage, inputs: Inputs, context: StageContext, grader: Grader) -> Outputs:
    start = go_on(context)
    checkpoint = CHECKPOINT.path(inputs["checkpoint"])
    leader = lead(config, inputs, context, start, grader) if context.main else None
    trained = load(config, checkpoint, context.seed)
    reference = reference_of(config, trained.policy, checkpoint)
    probe, router_sequences = processes.broadcast(context, probes(leader))
    evaluation = own_evaluation(config, inputs, context, leader, start)
    trainer = build_trainer(config, context, trained, leader, probe, reference, evaluation)
    if leader is not None:
        leader.rollouts.collector.before_chunk = stop_check(context, trainer, leader.rollouts)
    last = fit(
        trainer,
        config,
        context,
        start=start,
        probe=router_sequences,
        shown=SHOWN,
        extra=saver(leader, evaluation),
    )
    best = evaluation is not None and evaluation.place_best()
    proof = {} if best else trainer.proof()
    if leader is not None:
        if not best:
            PARITY.write(context.folder, proof)
        leader.engine.close()
    if not best:
        save(trained, context)
    if leader is None:
        return Outputs()
    copy_prompts(inputs["prompts"], context.folder)
    write_curriculum(leader.rollouts.collector.curriculum, context.folder)
    counts = close_ledger(leader.rollouts.collector.ledger, context.folder)
    kept = evaluation.recorded() if evaluation is not None else {}
    return Outputs(
        metrics={"steps": trainer.state.global_step, **kept, **selected(last, RECORDED), **counts},
        tokens_generated=int(last["tokens_generated_total"]),
        tokens_trained=int(last["tokens_trained_total"]),
    )


def lead(
    config: RlStage, inputs: Inputs, context: StageContext, start: Path | None, grader: Grader
) -> Leader:
    """Start verifiers and engine, and open the ledger and the curriculum; only process 0 does."""
    source, checkpoint = inputs["prompts"], CHECKPOINT.path(inputs["checkpoint"])
    prompts = graded_prompts(PROMPTS.path(source))
    grader.prepare(prompts)
    ledger = open_ledger(prompts, start or source, LEDGER.path(context.folder), start is None)
    engine = start_engine(checkpoint, config.rollouts, derive(context.seed, "engine"), context)
    count = context.execution.devices.processes
    collector = RolloutCollector(
        config,
        {p.id: p for p in prompts},
        ledger,
        engine,
        grader,
        derive(context.seed, "practice"),
        context.execution.rows_per_forward * count,
    )
    if start is None:
        check_agreement(collector, context)
    rollouts = StepRollouts(collector, ahead=config.ahead, steps=config.steps, start=start)
    return Leader(rollouts, StepRecorder(collector, context), count)


def graded_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file without its demonstrations, which the ledger does not have either."""
    prompts = [prompt for prompt in read_prompts(path) if not prompt.is_demonstration]
    if not prompts:
        raise BadInput(
            f"{path}: has nothing but demonstrations, whose answers no verifier grades",
            "add a source of prompts with a verifier",
        )
    return prompts


def build_trainer(
    config: RlStage,
    context: StageContext,
    trained: Trained,
    leader: Leader | None,
    probe: Probe,
    reference: Reference | None = None,
    evaluation: OwnEvaluation | None = None,
) -> RlTrainer:
    """The trainer of a stage's policy, whose rollouts come from `leader`."""
    return RlTrainer(
        trained.policy,
        rl_arguments(config, context),
        trained.tokenizer,
        config=config,
        context=context,
        leader=leader,
        probe=probe,
        reference=reference,
        evaluation=evaluation,
    )


def saver(leader: Leader | None, evaluation: OwnEvaluation | None) -> Callable[[Path], None]:
    """Saves into a checkpoint what the trainer does not; called in process 0."""

    def save_own(checkpoint: Path) -> None:
        if leader is not None:
            leader.save(checkpoint)
        if evaluation is not None:
            evaluation.best.save(checkpoint)

    return save_own


def rl_arguments(config: RlStage, context: StageContext) -> TrainingArguments:
    """Trainer's arguments of an RL stage."""
    return TrainingArguments(
        **trainer_arguments(config, context, config.prompts_per_step * config.group_size),
        max_steps=config.steps,
        # The curriculum persists what it needs; there is no data to skip.
        ignore_data_skip=True,
    )


def probes(leader: Leader | None) -> tuple[Probe, list[list[int]]]:
    """The sequences of the parity check, and those of the routing probe; empty without a leader,
    from whose process they come."""
    if leader is None:
        return Probe([], []), []
    collector = leader.rollouts.collector
    return probe_of(collector), router_probe(collector)


def probe_of(collector: RolloutCollector) -> Probe:
    """A few prompts with their reference answers, or with their own text where they have none."""
    encoder, config = collector.encoder, collector.config
    chosen = [(id, collector.prompts[id]) for id in encoder.usable(PARITY_PROBES)]
    texts = [(encoder.variants(id)[0], prompt.answer or prompt.task) for id, prompt in chosen]
    return parity_probe(collector.engine, config.rollouts, texts, config.max_tokens)


def router_probe(collector: RolloutCollector) -> list[list[int]]:
    """Prompts on which the drift of the routing is measured."""
    encoder = collector.encoder
    ids = spread_out(list(collector.prompts), PROBE)
    return [encoder.variants(id)[0] for id in ids if encoder.unusable(id) != NOT_ENCODED]


def stop_check(
    context: StageContext, trainer: RlTrainer, rollouts: StepRollouts
) -> Callable[[bool], None]:
    """What happens between two chunks of a step's rollouts: progress is reported, and a stop is
    heeded.

    A step that has booked rollouts is finished first: a stage that resumes begins its step anew. So
    is one that is collected in the background, or while other processes wait for its rollouts:
    training heeds the stop at the step's end.
    """

    def check(booked: bool) -> None:
        step = trainer.state.global_step
        context.progress(step, trainer.args.max_steps, unit="step")
        if booked or rollouts.in_background or processes.several(context):
            return
        if context.stop_requested():
            if step:
                trainer.save_last_step()
            raise Interrupted(
                "stopped as asked; the stage goes on from here", "run the same command again"
            )

    return check
