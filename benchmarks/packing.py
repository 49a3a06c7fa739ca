"""What packing saves: forward and backward passes of an SFT step on sequences of uneven lengths,
padded and packed, on the same trainer and the same batch.

    .venv/bin/python -m benchmarks.packing

Writes `benchmarks/results/packing.json`: real tokens a second and the ratio, by policy and set of
lengths (medians of rounds in turn)."""

import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from trl import SFTConfig

from benchmarks.harness import Results, medians
from models.checkpoint import load_tokenizer
from models.nano import nano_model, nano_tokenizer
from models.packaged import resolve_dense
from models.upcycle import load_dense, upcycle
from stages.sft.run import RowTrainer

ROWS, AT_ONCE = 32, 16
ROUNDS = {"nano": 9, "smollm2": 3}
LENGTHS: dict[str, Callable[[random.Random], float]] = {
    "uneven": lambda draw: draw.lognormvariate(4.2, 0.8),
    "one long": lambda draw: 60.0,
    "even": lambda draw: 90.0,
}
"""`uneven`: as answers and chats are, a few much longer than most. `one long`: one of 400 among
short ones. `even`: nothing to save."""
PATHS = ("models/documents.py", "models/moe.py", "training/accumulation.py", "stages/sft/run.py")


def lengths(kind: str) -> list[int]:
    draw = random.Random(0)
    drawn = [max(8, min(400, round(LENGTHS[kind](draw)))) for _ in range(ROWS)]
    return [400, *drawn[1:]] if kind == "one long" else drawn


def policy(name: str) -> tuple[Any, Any]:
    """A policy and its tokenizer; `smollm2` is the quickstart's mixture of experts."""
    if name == "nano":
        tokenizer = nano_tokenizer()
        return nano_model(tokenizer, seed=0), tokenizer
    folder = resolve_dense("smollm2-135m-instruct")
    return upcycle(load_dense(folder), experts=4, moe_every=3, seed=0), load_tokenizer(folder)


def measure(name: str, kind: str) -> dict[str, float]:
    model, tokenizer = policy(name)
    drawn = lengths(kind)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(model, tokenizer, drawn, folder)
        batch = next(iter(trainer.get_train_dataloader()))
        sides = {side: partial(_step, trainer, batch, side) for side in ("padded", "packed")}
        seconds = medians(sides, ROUNDS[name])
    return {
        "tokens": sum(drawn),
        "padded_tokens_per_second": sum(drawn) / seconds["padded"],
        "packed_tokens_per_second": sum(drawn) / seconds["packed"],
        "ratio": seconds["padded"] / seconds["packed"],
    }


def _trainer(model: Any, tokenizer: Any, drawn: Sequence[int], folder: str) -> RowTrainer:
    draw = random.Random(1)
    rows = [[draw.randrange(7, 100) for _ in range(length)] for length in drawn]
    args = SFTConfig(
        output_dir=folder,
        per_device_train_batch_size=ROWS,
        max_length=None,
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    dataset = Dataset.from_list([{"input_ids": row, "labels": row} for row in rows])
    trainer = RowTrainer(model, args, train_dataset=dataset, processing_class=tokenizer)
    trainer.items, trainer.current_gradient_accumulation_steps = AT_ONCE, 1
    return trainer


def _step(trainer: RowTrainer, batch: dict[str, Any], side: str) -> None:
    trainer.packing = side == "packed"
    count = batch["attention_mask"].sum()
    trainer.training_step(trainer.model.train(), dict(batch), count)
    trainer.model.zero_grad()


def main() -> None:
    results = Results("packing", ".venv/bin/python -m benchmarks.packing")
    figures: dict[str, dict[str, float]] = {}
    for name in ROUNDS:
        found = {
            kind: results.part(f"{name}, {kind}", PATHS, partial(measure, name, kind))
            for kind in LENGTHS
        }
        figures[name] = {kind: round(one["ratio"], 2) for kind, one in found.items()}
    threads = {"threads": torch.get_num_threads()}
    results.write({"packed_over_padded": figures, **threads})
    print(figures, statistics.median(one["uneven"] for one in figures.values()))


if __name__ == "__main__":
    main()
