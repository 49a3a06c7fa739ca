"""Light supervised fine-tuning on the prompts that the judge filter keeps, or on all of them: TRL's
SFTTrainer, with the loss on what the assistant writes."""

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from common.artifacts import CHECKPOINT, PROMPTS
from common.stage import Inputs, Outputs, StageContext
from prompts.sample import sample
from prompts.schema import read_prompts
from prompts.taught import learnable
from stages.lengths import require_room
from stages.sft.config import SftStage
from stages.sft.examples import encoded
from training.accumulation import Batch, EvenPasses, in_one_row
from training.arguments import trainer_arguments
from training.loop import fit
from training.metrics_log import selected
from training.policy import load, save
from training.processes import join
from training.resume import go_on
from training.router_metrics import FIGURES


class RowTrainer(EvenPasses, SFTTrainer):
    """At most `items` sequences go through the model at once."""

    packing = False
    """Whether the sequences of a pass are laid into one row where they would be padded."""

    def laid(self, part: Batch) -> Batch:
        part = super().laid(part)
        padded = not part["attention_mask"].all()
        return in_one_row(part) if self.packing and padded else part


def run(config: SftStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/` and `metrics.jsonl`."""
    join(context)
    start = go_on(context)
    prompts = sample(
        learnable(read_prompts(PROMPTS.path(inputs["prompts"]))), config.limit, context.seed
    )
    trained = load(config, CHECKPOINT.path(inputs["checkpoint"]), context.seed)
    examples = encoded(trained.tokenizer, prompts)
    lengths = {p.named: len(one.ids) for p, one in zip(prompts, examples, strict=True)}
    context_length = trained.policy.config.max_position_embeddings
    require_room(
        lengths,
        context_length,
        "the model's context",
        "shorten them, or set max_prompt_tokens of their source",
    )
    rows = min(config.batch_size, len(prompts))
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
    probe = [one.ids for one in examples]
    last = fit(
        trainer, config, context, start=start, probe=probe, shown=("loss", "mean_token_accuracy")
    )
    save(trained, context)
    names = ("loss", "mean_token_accuracy", "entropy", *FIGURES)
    shown = sum(prompt.is_demonstration for prompt in prompts)
    demonstrations = {"demonstrations": shown} if shown else {}
    counts = {"prompts": len(prompts), **demonstrations, "steps": trainer.state.global_step}
    return Outputs(
        metrics={**counts, **selected(last, names)},
        tokens_trained=int(last.get("num_tokens", 0)),
    )
