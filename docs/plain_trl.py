"""The curriculum alone, with a plain TRL `GRPOTrainer` on any model: the ledger decides which
prompts are trained on.

`model` and `tokenizer` are yours. `tasks` maps an id to its chat messages, its answer and its kind;
prompts of one kind share what is learnt about their difficulty. `right(text, answer)` grades. Every
completion counts, so the pilot is off and each step is one round. Nothing else of uphill is
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

Tasks = Mapping[str, Any]
Right = Callable[[str, str], bool]
Batch = list[dict[str, Any]]


class CurriculumBatches(IterableDataset):
    """The prompts of each optimiser step. When the next batch is asked for, TRL has rolled out,
    graded and trained on the last one: its results go into the ledger first."""

    def __init__(self, tasks: Tasks, right: Right, args: GRPOConfig, ledger: Ledger) -> None:
        self.tasks, self.right, self.steps = tasks, right, args.max_steps
        self.group_size = args.num_generations
        self.passes = Counter[str]()
        self.curriculum = Curriculum(
            Posterior(pilot=0, max_rounds=1),
            ledger,
            groups=args.per_device_train_batch_size // self.group_size,
            group_size=self.group_size,
            seed=args.seed,
        )
        self.drawn = self._draw()

    def __iter__(self) -> Iterator[Batch]:
        return self.drawn

    def reward(self, completions: list[Any], id: list[str], **_: Any) -> list[float]:
        """TRL's reward function: 1 for a right completion, 0 for a wrong one."""
        graded = [
            (i, self.right(chat[-1]["content"], self.tasks[i]["answer"]))
            for chat, i in zip(completions, id, strict=True)
        ]
        self.passes.update(i for i, passed in graded if passed)
        return [float(passed) for _, passed in graded]

    def _draw(self) -> Iterator[Batch]:
        size = self.group_size
        for version in range(self.steps):
            self.passes.clear()
            step = self.curriculum.step(version)
            ids = [request.id for request in next(step)]
            yield [
                {"prompt": self.tasks[id]["messages"], "id": id} for id in ids for _ in range(size)
            ]
            with suppress(StopIteration):
                step.send([RolloutResult(self.passes[id], size - self.passes[id]) for id in ids])


class CurriculumTrainer(GRPOTrainer):
    """Takes its batches from a curriculum; TRL asks for a data set, which is not read."""

    def __init__(self, model: Any, batches: CurriculumBatches, **settings: Any) -> None:
        self.batches = batches
        unread = Dataset.from_dict({"prompt": [""]})
        super().__init__(model, batches.reward, train_dataset=unread, **settings)

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None)


def train(
    model: Any, tokenizer: Any, tasks: Tasks, right: Right, args: GRPOConfig, ledger: Path
) -> GRPOTrainer:
    """Train with `args`: one optimiser step per batch (no accumulation), `max_steps` set."""
    book = Ledger(ledger)
    book.add(NewPrompt(id, task["kind"], "tasks", Beta(1, 1)) for id, task in tasks.items())
    batches = CurriculumBatches(tasks, right, args, book)
    trainer = CurriculumTrainer(model, batches, args=args, processing_class=tokenizer)
    trainer.train()
    next(batches.drawn, None)  # puts the results of the last step into the ledger
    return trainer
