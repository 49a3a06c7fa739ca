"""Light DPO on pairs mined from an RL stage's groups, on pairs of one's own and on answers of the
policy with and without a corner case: TRL's DPOTrainer, with an SFT term on the chosen answer.

The reference policy is an explicit input. The absolute log-probabilities of the chosen answers are
logged, because margins can grow while the right answers become less likely."""

from dataclasses import asdict
from typing import Any

from datasets import Dataset
from trl import DPOConfig

from common.artifacts import CHECKPOINT, CONTAMINATED, PAIRS
from common.stage import Inputs, Outputs, StageContext
from models.checkpoint import load_policy
from stages.dpo.config import DpoStage
from stages.dpo.gather import Example, Gathered, gather
from stages.dpo.trainer import CUT_IDS, PairTrainer
from stages.lengths import require_room
from training.arguments import trainer_arguments
from training.loop import fit
from training.metrics_log import selected
from training.policy import Trained, load, save
from training.processes import join
from training.resume import go_on
from training.router_metrics import FIGURES

ANSWERS = ("chosen", "rejected")


def run(config: DpoStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/`, `pairs.jsonl` and `metrics.jsonl`; with pairs of one's own also
    `contaminated.jsonl` and `bad_rows.jsonl`."""
    join(context)
    start = go_on(context)
    pairs = gather(config, inputs, context)
    if context.main:
        _write(pairs, context)
    trained = load(config, CHECKPOINT.path(inputs["checkpoint"]), context.seed)
    examples = pairs.examples
    _require_room(pairs, trained)
    trainer = PairTrainer(
        model=trained.policy,
        ref_model=load_policy(CHECKPOINT.path(inputs["reference"])),
        args=_arguments(config, context, len(examples)),
        train_dataset=_dataset(pairs),
        processing_class=trained.tokenizer,
    )
    trainer.items = _at_once(context)
    probe = [_encoded(trained.tokenizer, example, "chosen") for example in examples]
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
    origins = {} if isinstance(config.pairs, str) else {"by_origin": pairs.origins}
    cases = {"corner_cases": pairs.sampled.figures} if pairs.sampled else {}
    counts = {"pairs": len(examples), **origins, **cases, "steps": trainer.state.global_step}
    return Outputs(
        metrics={**counts, **selected(last, names)},
        tokens_generated=pairs.sampled.tokens_generated if pairs.sampled else 0,
        tokens_trained=int(last.get("num_tokens", 0)),
    )


def _dataset(pairs: Gathered) -> Dataset:
    dataset = Dataset.from_list(pairs.examples)
    if not pairs.cut_ids:
        return dataset
    cut_ids = [pairs.cut_ids.get(number, []) for number in range(len(pairs.examples))]
    return dataset.add_column(CUT_IDS, cut_ids)


def _write(pairs: Gathered, context: StageContext) -> None:
    for sentence in pairs.notes:
        context.note(sentence)
    PAIRS.write(context.folder, pairs.rows)
    if pairs.of_files:
        CONTAMINATED.write(context.folder, map(asdict, pairs.overlaps))


def _require_room(pairs: Gathered, trained: Trained) -> None:
    """BadInput where a pair of a file is longer than the model's context. RL's answers fit."""
    if not pairs.of_files:
        return
    lengths = {
        named: max(len(_encoded(trained.tokenizer, example, name)) for name in ANSWERS)
        for named, example in zip(pairs.named, pairs.examples, strict=True)
    }
    context_length = trained.policy.config.max_position_embeddings
    require_room(lengths, context_length, "the model's context", "shorten them, or remove the rows")


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


def _encoded(tokenizer: Any, example: Example, name: str) -> list[int]:
    return tokenizer.apply_chat_template(example["prompt"] + example[name], return_dict=False)
