"""Light supervised fine-tuning on the prompts that the judge filter keeps, or on all of them: TRL's
SFTTrainer, with the loss on the answer only."""

from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from common.artifacts import CHECKPOINT, PROMPTS
from common.stage import Inputs, Outputs, StageContext
from prompts.sample import sample
from prompts.schema import Prompt, read_prompts
from stages.lengths import require_room
from stages.sft.config import SftStage
from training.accumulation import EvenPasses
from training.arguments import trainer_arguments
from training.loop import fit
from training.metrics_log import selected
from training.policy import load, save
from training.processes import join
from training.resume import go_on
from training.router_metrics import FIGURES


class RowTrainer(EvenPasses, SFTTrainer):
    """At most `items` rows go through the model at once."""


def run(config: SftStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/` and `metrics.jsonl`."""
    join(context)
    start = go_on(context)
    prompts = sample(read_prompts(PROMPTS.path(inputs["prompts"])), config.limit, context.seed)
    trained = load(config, CHECKPOINT.path(inputs["checkpoint"]), context.seed)
    examples = {prompt.id: _example(prompt) for prompt in prompts}
    encoded = {id: _encoded(trained.tokenizer, example) for id, example in examples.items()}
    lengths = {prompt.named: len(encoded[prompt.id]) for prompt in prompts}
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
            completion_only_loss=True,
            max_length=None,
        ),
        train_dataset=Dataset.from_list(list(examples.values())),
        processing_class=trained.tokenizer,
    )
    trainer.items = context.execution.rows_per_forward
    probe = list(encoded.values())
    last = fit(
        trainer, config, context, start=start, probe=probe, shown=("loss", "mean_token_accuracy")
    )
    save(trained, context)
    names = ("loss", "mean_token_accuracy", "entropy", *FIGURES)
    metrics = {"prompts": len(prompts), "steps": trainer.state.global_step, **selected(last, names)}
    return Outputs(metrics=metrics, tokens_trained=int(last.get("num_tokens", 0)))


def _example(prompt: Prompt) -> dict[str, Any]:
    return {
        "prompt": prompt.messages,
        "completion": [{"role": "assistant", "content": prompt.target}],
    }


def _encoded(tokenizer: Any, example: dict[str, Any]) -> list[int]:
    return tokenizer.apply_chat_template(
        example["prompt"] + example["completion"], return_dict=False
    )
