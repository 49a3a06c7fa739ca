"""SFT and DPO: an optimiser step in any number of passes is the same step."""

import pytest
import torch
from datasets import Dataset
from trl import DPOConfig, SFTConfig

from common.execution import ExecutionConfig
from models.nano import nano_model, nano_tokenizer
from stages.dpo.config import DpoStage
from stages.dpo.trainer import PairTrainer
from stages.sft.run import RowTrainer

TOKENIZER = nano_tokenizer()
SETTINGS = {
    "report_to": [],
    "use_cpu": True,
    "bf16": False,
    "max_length": None,
    "gradient_checkpointing": False,
}


def chat(role, text):
    return [{"role": role, "content": text}]


@pytest.fixture
def sft(tmp_path):
    rows = [
        {"prompt": chat("user", f"say {n}"), "completion": chat("assistant", "a" * (1 + n % 5))}
        for n in range(17)
    ]
    args = SFTConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=17,
        completion_only_loss=True,
        **SETTINGS,
    )
    return RowTrainer(
        nano_model(TOKENIZER, seed=1),
        args,
        train_dataset=Dataset.from_list(rows),
        processing_class=TOKENIZER,
    )


@pytest.fixture
def dpo(tmp_path):
    rows = [
        {
            "prompt": chat("user", f"say {n}"),
            "chosen": chat("assistant", "a" * (1 + 3 * n)),
            "rejected": chat("assistant", "b" * (9 - n)),
        }
        for n in range(5)
    ]
    args = DPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=5,
        precompute_ref_log_probs=True,
        beta=0.5,
        precompute_ref_batch_size=2,
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, 0.5],
        **SETTINGS,
    )
    # Another reference than the policy: from equal ones the gradient of each pair would be the
    # same.
    return PairTrainer(
        nano_model(TOKENIZER, seed=1),
        nano_model(TOKENIZER, seed=2),
        args,
        train_dataset=Dataset.from_list(rows),
        processing_class=TOKENIZER,
    )


def step(trainer, batch, items):
    """Loss, gradient, figures and the sizes of the passes of one step."""
    trainer.items, trainer.current_gradient_accumulation_steps = items, 1
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    sizes: list[int] = []
    parts = trainer.parts

    def seen(inputs):
        divided = parts(inputs)
        sizes.extend(len(part["input_ids"]) for part in divided)
        return divided

    trainer.parts = seen
    count = trainer._get_num_items_in_batch([batch], torch.device("cpu"))
    loss = trainer.training_step(trainer.model, dict(batch), count)
    trainer.parts = parts
    gradient = torch.cat(
        [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    )
    figures = {
        name: values[0] for name, values in trainer._metrics["train"].items() if len(values) == 1
    }
    return loss.item(), gradient, figures, sizes


def same(trainer, shapes, exact):
    batch = next(iter(trainer.get_train_dataloader()))
    loss, wanted, figures, _ = step(trainer, batch, 99)
    for items, expected in shapes.items():
        divided, gradient, others, sizes = step(trainer, batch, items)
        assert sizes == expected and trainer.passes == len(expected)
        assert divided == pytest.approx(loss, abs=1e-6)
        largest = wanted.abs().max()
        assert largest > 1e-3 and (gradient - wanted).abs().max() <= 1e-6 * max(largest, 1)
        for name in exact:
            assert others[name] == pytest.approx(figures[name], rel=1e-4), name


def test_seventeen_rows_with_a_limit_of_sixteen_take_two_passes_and_give_the_same_gradient(sft):
    same(sft, {16: [9, 8], 6: [6, 6, 5], 17: [17], 1: [1] * 17}, exact=[])


def test_packed_passes_give_the_gradient_and_the_figures_of_padded_ones(sft):
    batch = next(iter(sft.get_train_dataloader()))
    for items in (99, 6):
        sft.packing = False
        loss, wanted, figures, _ = step(sft, batch, items)
        sft.packing = True
        packed, gradient, others, sizes = step(sft, batch, items)
        assert set(sizes) == {1}
        assert packed == pytest.approx(loss, abs=1e-6)
        assert (gradient - wanted).abs().max() <= 1e-6 * max(wanted.abs().max(), 1)
        tokens = {name: figures.pop("num_tokens") for name in ("num_tokens",)}
        assert others.pop("num_tokens") - tokens["num_tokens"] == int(batch["attention_mask"].sum())
        assert others == pytest.approx(figures, rel=1e-4)


def test_pairs_are_divided_with_both_their_sides_and_give_the_same_gradient(dpo):
    same(
        dpo,
        {4: [6, 4], 2: [4, 4, 2], 1: [2] * 5},
        exact=["rewards/chosen", "rewards/accuracies", "logps/chosen"],
    )


def test_a_pair_needs_room_for_two_sequences():
    values = {"id": "dpo", "kind": "dpo", "from": "rl", "pairs": "rl", "learning_rate": 1e-5}
    stage = DpoStage.model_validate(values)
    (wrong,) = stage.execution_objections(ExecutionConfig(rows_per_forward=1))
    assert wrong.message == "rows_per_forward is 1, but a pair has two sequences"
    assert not list(stage.execution_objections(ExecutionConfig(rows_per_forward=2)))
