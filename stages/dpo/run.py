"""Light DPO on pairs mined from the RL stage's groups, TRL's DPOTrainer, with an SFT term on the
chosen answer.

The reference policy is an explicit input. The absolute log-probabilities of the chosen answers are
logged, because margins can grow while the right answers become less likely."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import DPOConfig

from common.artifacts import CHECKPOINT, GROUPS, PAIRS, PROMPTS
from common.errors import BadInput, RunFailed
from common.files import read_json_lines
from common.stage import Inputs, Outputs, StageContext
from models.checkpoint import load_policy
from prompts.schema import read_prompts, with_system
from stages.dpo.config import DpoStage
from stages.dpo.pairs import Pair, mine, why_none
from stages.dpo.trainer import PairTrainer
from training.arguments import trainer_arguments
from training.loop import fit
from training.metrics_log import selected
from training.policy import load, save
from training.processes import join
from training.resume import go_on
from training.router_metrics import FIGURES


def run(config: DpoStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/`, `pairs.jsonl` and `metrics.jsonl`."""
    join(context)
    start = go_on(context)
    groups = read_groups(GROUPS.path(inputs["pairs"]))
    ratio, margin = config.max_length_ratio, config.min_margin
    pairs = mine(groups, config.max_pairs, ratio, context.seed, margin)
    if not pairs:
        why, remedy = why_none(groups, margin)
        raise RunFailed(f"no pair in {len(groups)} groups of stage {config.pairs!r}: {why}", remedy)
    messages = {
        prompt.id: prompt.messages for prompt in read_prompts(PROMPTS.path(inputs["pairs"]))
    }
    if context.main:
        PAIRS.write(context.folder, map(asdict, pairs))
    trained = load(config, CHECKPOINT.path(inputs["checkpoint"]), context.seed)
    examples = [_example(pair, messages) for pair in pairs]
    trainer = PairTrainer(
        model=trained.policy,
        ref_model=load_policy(CHECKPOINT.path(inputs["reference"])),
        args=_arguments(config, context, len(pairs)),
        train_dataset=Dataset.from_list(examples),
        processing_class=trained.tokenizer,
    )
    trainer.items = _at_once(context)
    probe = [_chosen(trained.tokenizer, example) for example in examples]
    last = fit(
        trainer,
        config,
        context,
        start=start,
        probe=probe,
        shown=("loss", "rewards/accuracies", "logps/chosen"),
    )
    save(trained, context)
    names = (
        "loss",
        "rewards/accuracies",
        "rewards/margins",
        "logps/chosen",
        "logps/rejected",
        *FIGURES,
    )
    metrics = {"pairs": len(pairs), "steps": trainer.state.global_step, **selected(last, names)}
    return Outputs(metrics=metrics, tokens_trained=int(last.get("num_tokens", 0)))


def read_groups(path: Path) -> list[dict[str, Any]]:
    """The groups of an RL stage. BadInput where the text of their system prompt is missing."""
    groups = read_json_lines(path)
    for number, group in enumerate(groups, start=1):
        if not isinstance(group["system"], str | None):
            raise BadInput(
                f"{path}, line {number}: system is {group['system']!r}, the number of a system"
                " prompt and not its text, as an earlier version of uphill wrote it",
                "run the RL stage again with --redo, so that pairs are trained under what they were"
                " sampled under",
            )
    return groups


def _arguments(config: DpoStage, context: StageContext, pairs: int) -> DPOConfig:
    return DPOConfig(
        **trainer_arguments(config, context, min(config.batch_size, pairs)),
        num_train_epochs=1,
        beta=config.beta,
        loss_type=["sigmoid", "sft"] if config.sft_weight else ["sigmoid"],
        loss_weights=[1.0, config.sft_weight] if config.sft_weight else None,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=_at_once(context),
        max_length=None,
    )


def _at_once(context: StageContext) -> int:
    """Pairs in a pass: each is two sequences."""
    return context.execution.rows_per_forward // 2


def _example(
    pair: Pair, messages: dict[str, list[dict[str, str]]]
) -> dict[str, list[dict[str, str]]]:
    return {
        "prompt": with_system(messages[pair.prompt_id], pair.system),
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
    }


def _chosen(tokenizer: Any, example: dict[str, Any]) -> list[int]:
    return tokenizer.apply_chat_template(example["prompt"] + example["chosen"], return_dict=False)
