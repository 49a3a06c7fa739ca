"""The curriculum alone, driving a plain TRL `GRPOTrainer` on any model: what to practise on comes
from the ledger.

`model` and `tokenizer` are yours; `tasks` maps an id to its chat messages, its answer and its kind
(prompts of one kind share what is learnt about their difficulty); `right(text, answer)` grades.
Every completion counts, so the pilot is off and each step is one round. Nothing else of uphill is
imported."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch.utils.data import DataLoader, IterableDataset
from trl import GRPOConfig, GRPOTrainer

from curriculum.config import Posterior
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from curriculum.requests import RolloutResult

Right = Callable[[str, str], bool]


def collect(
    model: Any,
    tokenizer: Any,
    tasks: Mapping[str, Any],
    right: Right,
    args: GRPOConfig,
    ledger: Path,
) -> GRPOTrainer:
    """Train with `args`: one optimiser step a batch (no accumulation), `max_steps` set."""
    book = Ledger(ledger)
    book.add(NewPrompt(id, task["kind"], "tasks", Beta(1, 1)) for id, task in tasks.items())
    size, groups = args.num_generations, args.per_device_train_batch_size // args.num_generations
    curriculum = Curriculum(
        Posterior(pilot=0, max_rounds=1), book, groups=groups, group_size=size, seed=args.seed
    )
    passes = Counter[str]()

    def reward(completions: list, id: list[str], **_: Any) -> list[float]:
        graded = [
            (i, right(chat[-1]["content"], tasks[i]["answer"]))
            for chat, i in zip(completions, id, strict=True)
        ]
        passes.update(i for i, passed in graded if passed)
        return [float(passed) for _, passed in graded]

    def batches() -> Iterator[list[dict[str, Any]]]:
        for version in range(args.max_steps):
            passes.clear()
            step = curriculum.step(version)
            requests = next(step)
            yield [
                {"prompt": tasks[request.id]["messages"], "id": request.id}
                for request in requests
                for _ in range(size)
            ]
            # TRL has rolled out, graded and trained when it asks for more: book what came.
            with suppress(StopIteration):
                step.send(
                    [
                        RolloutResult(passes[request.id], size - passes[request.id])
                        for request in requests
                    ]
                )

    class Asked(IterableDataset):
        def __iter__(self) -> Iterator[list[dict[str, Any]]]:
            return drawn

    class Trainer(GRPOTrainer):
        def get_train_dataloader(self) -> DataLoader:
            return DataLoader(Asked(), batch_size=None)

    drawn, unread = (
        batches(),
        Dataset.from_dict({"prompt": [""]}),
    )  # TRL wants a dataset; it trains on what is drawn
    trainer = Trainer(model, reward, args, train_dataset=unread, processing_class=tokenizer)
    trainer.train()
    next(drawn, None)  # books the last step
    return trainer
