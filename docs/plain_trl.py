"""The curriculum alone, driving a plain TRL `GRPOTrainer` on any model: what to practise on comes from the ledger.

`model` and `tokenizer` are yours; `tasks` maps an id to its chat messages, its answer and its kind (prompts of one kind
share what is learnt about their difficulty); `right(text, answer)` grades. Every completion counts, so the pilot is off
and each step is one round. Nothing else of uphill is imported.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch.utils.data import DataLoader, IterableDataset
from trl import GRPOConfig, GRPOTrainer

from curriculum.asks import Outcome
from curriculum.config import Posterior
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.rows import Entry


def practise(
    model: Any,
    tokenizer: Any,
    tasks: Mapping[str, Any],
    right: Callable[[str, str], bool],
    args: GRPOConfig,
    ledger: Path,
) -> GRPOTrainer:
    """Train with `args`: one optimiser step a batch (no accumulation), `max_steps` set."""
    book = Ledger(ledger)
    book.add(Entry(id, task["kind"], "tasks", Beta(1, 1)) for id, task in tasks.items())
    size = args.num_generations
    groups = args.per_device_train_batch_size // size
    curriculum = Curriculum(Posterior(pilot=0, max_rounds=1), book, groups=groups, group_size=size, seed=args.seed)
    passes: dict[str, int] = {}

    def reward(completions: list, id: list[str], **_: Any) -> list[float]:
        texts = [chat[-1]["content"] if isinstance(chat, list) else chat for chat in completions]
        rewards = [float(right(text, tasks[i]["answer"])) for text, i in zip(texts, id, strict=True)]
        passes.update({i: int(sum(r for r, j in zip(rewards, id, strict=True) if j == i)) for i in set(id)})
        return rewards

    pending: list[tuple[Any, Any]] = []

    def close() -> None:
        """Book the step before: TRL has rolled out and graded when it asks for more, or ends."""
        while pending:
            step, asks = pending.pop()
            try:
                step.send([Outcome(passes[ask.id], size - passes[ask.id]) for ask in asks])
            except StopIteration as end:
                print({name: end.value.metrics[name] for name in ("pool_rate", "committed_mixed_share")})

    class Asked(IterableDataset):
        def __iter__(self) -> Iterator[list[dict[str, Any]]]:
            for version in range(args.max_steps):
                close()
                step = curriculum.step(version)
                asks = next(step)
                pending.append((step, asks))
                yield [{"prompt": tasks[ask.id]["messages"], "id": ask.id} for ask in asks for _ in range(size)]

    class Trainer(GRPOTrainer):
        def get_train_dataloader(self) -> DataLoader:
            return DataLoader(Asked(), batch_size=None)

    unread = Dataset.from_dict({"prompt": [""]})  # TRL wants a dataset; what it trains on comes from the loader above
    trainer = Trainer(model, reward, args, train_dataset=unread, processing_class=tokenizer)
    trainer.train()
    close()
    return trainer
