"""Light supervised fine-tuning on the prompts that the judge filter keeps, or on all of them: TRL's
SFTTrainer, with the loss on what the assistant writes."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from common.artifacts import CHECKPOINT, PROMPTS
from common.stage import Inputs, Outputs, StageContext
from prompts.sample import sample
from prompts.schema import Prompt, read_prompts
from prompts.taught import learnable
from stages.lengths import require_room
from stages.sft.config import SftStage
from stages.sft.examples import Example, encoded
from stages.sft.probes import Probes, probes_of
from training.accumulation import Batch, EvenPasses, in_one_row
from training.arguments import trainer_arguments
from training.loop import fit
from training.metrics_log import selected
from training.policy import Trained, load, save
from training.processes import join
from training.resume import go_on
from training.router_metrics import FIGURES

SHOWN = ("loss", "mean_token_accuracy", "probe/pass_at_k", "probe/format")
"""Figures that progress reports, where they are there."""
RECORDED = ("loss", "mean_token_accuracy", "entropy", *FIGURES)
"""Figures of the last step that the stage's record keeps."""


class RowTrainer(EvenPasses, SFTTrainer):
    """At most `items` sequences go through the model at once."""

    packing = False
    """Whether the sequences of a pass are laid into one row where they would be padded."""
    probes: Probes | None = None
    """Probes that may end the training; None for none."""

    def laid(self, part: Batch) -> Batch:
        part = super().laid(part)
        padded = not part["attention_mask"].all()
        return in_one_row(part) if self.packing and padded else part

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's figures of a step, with those of its probe."""
        if self.probes is not None and "loss" in logs:
            policy, state = self.accelerator.unwrap_model(self.model), self.state
            logs |= self.probes.after_step(
                state.global_step, state.max_steps, logs, policy, self.processing_class
            )
            if self.probes.ended:
                state.max_steps = state.global_step
                self.control.should_training_stop = self.control.should_save = True
        super().log(logs, start_time)


def run(config: SftStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/`, `metrics.jsonl` and, with `stop_when`, `probes.jsonl`."""
    join(context)
    start = go_on(context)
    with probes_of(config, inputs, context, start) as probes:
        return _train(config, inputs, context, start, probes)


def _train(
    config: SftStage,
    inputs: Inputs,
    context: StageContext,
    start: Path | None,
    probes: Probes | None,
) -> Outputs:
    prompts = sample(
        learnable(read_prompts(PROMPTS.path(inputs["prompts"]))), config.limit, context.seed
    )
    trained = load(config, CHECKPOINT.path(inputs["checkpoint"]), context.seed)
    examples = encoded(trained.tokenizer, prompts)
    _require_context(trained, prompts, examples)
    trainer = _trainer(config, context, trained, examples)
    trainer.probes = probes
    last = fit(
        trainer,
        config,
        context,
        start=start,
        probe=[one.ids for one in examples],
        shown=SHOWN,
        extra=probes.best.save if probes is not None else lambda folder: None,
        ended=bool(probes is not None and probes.ended),
    )
    if probes is None or not probes.place_best():
        save(trained, context)
    shown = sum(prompt.is_demonstration for prompt in prompts)
    demonstrations = {"demonstrations": shown} if shown else {}
    counts = {"prompts": len(prompts), **demonstrations, "steps": trainer.state.global_step}
    kept = probes.recorded() if probes is not None else {}
    return Outputs(
        metrics={**counts, **kept, **selected(last, RECORDED)},
        tokens_generated=probes.tokens if probes is not None else 0,
        tokens_trained=int(last.get("num_tokens", 0)),
    )


def _trainer(
    config: SftStage, context: StageContext, trained: Trained, examples: Sequence[Example]
) -> RowTrainer:
    rows = min(config.batch_size, len(examples))
    trainer = RowTrainer(
        model=trained.policy,
        args=SFTConfig(
            **trainer_arguments(config, context, rows),
            num_train_epochs=config.epochs,
            max_length=None,
        ),
        train_dataset=Dataset.from_list([one.row for one in examples]),
        processing_class=trained.tokenizer,
    )
    trainer.items = context.execution.rows_per_forward
    trainer.packing = context.execution.packing
    return trainer


def _require_context(
    trained: Trained, prompts: Sequence[Prompt], examples: Sequence[Example]
) -> None:
    """BadInput where a prompt with its target does not fit the model's context."""
    require_room(
        {p.named: len(one.ids) for p, one in zip(prompts, examples, strict=True)},
        trained.policy.config.max_position_embeddings,
        "the model's context",
        "shorten them, or set max_prompt_tokens of their source",
    )
