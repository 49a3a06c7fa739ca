"""SFT and DPO steps through the trainers that the stages use, on TRL."""

import tempfile
from typing import Any

from benchmarks.gpu_check.setting import Setting
from models.nano import nano_tokenizer

WORDS = ("right", "left", "up", "down", "in", "out", "on", "off")


def run(setting: Setting) -> dict[str, Any]:
    from datasets import Dataset
    from trl import DPOConfig, SFTConfig

    from stages.dpo.trainer import PairTrainer
    from stages.sft.run import RowTrainer

    tokenizer = nano_tokenizer()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        common: dict[str, Any] = {
            "output_dir": folder,
            "per_device_train_batch_size": len(WORDS),
            "max_steps": 3,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "bf16": setting.cuda,
            "use_cpu": not setting.cuda,
            "max_length": None,
        }
        sft = RowTrainer(
            model=setting.tiny(),
            args=SFTConfig(**common, completion_only_loss=True),
            train_dataset=Dataset.from_list([_row(word, "completion") for word in WORDS]),
            processing_class=tokenizer,
        )
        sft.items = 4
        figures["sft"] = _trained(sft)
        pairs = [_row(word, "chosen") | {"rejected": _answer(word)} for word in WORDS]
        dpo = PairTrainer(
            model=setting.tiny(),
            ref_model=setting.tiny(),
            args=DPOConfig(
                **common,
                loss_type=["sigmoid", "sft"],
                loss_weights=[1.0, 0.5],
                precompute_ref_log_probs=True,
            ),
            train_dataset=Dataset.from_list(pairs),
            processing_class=tokenizer,
        )
        dpo.items = 4
        figures["dpo"] = _trained(dpo)
    return figures


def _row(word: str, answer: str) -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": f"reverse {word}"}], answer: _answer(word[::-1])}


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _trained(trainer: Any) -> dict[str, Any]:
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return {"losses": losses, "seconds": trainer.state.log_history[-1]["train_runtime"]}
