"""Router metrics of a training stage: the load of the experts at every step, and the drift of the
routing since the stage's start.

The drift is measured on a fixed probe, some of the stage's own sequences, at every checkpoint and
at the end. Each measurement adds a line to `routing.jsonl`, with the share of tokens that each
expert of each layer got since the line before. With several processes the load is that of all,
every process runs the probe, and rank 0 writes."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, tensor

from common.artifacts import ROUTING
from common.files import read_json, write_json
from common.stage import StageContext
from models.routing import RouterWatch, differing, load_metrics, moe_layers, routing
from training.processes import several, total

PROBE, PROBE_TOKENS = 16, 128
"""Sequences in the probe, and tokens kept of each."""
STATE = "routing.json"
"""In a checkpoint: tokens that each expert got since the last line, by layer."""
FIGURES = (
    "router/load_entropy",
    "router/largest_load",
    "router/dead_experts",
    "router/drift",
    "router/engine_differs",
)
"""Figures that a stage's record keeps."""


class RouterMetrics:
    """Measures one policy in training. Create it before the weights of a checkpoint are loaded, as
    the drift is measured from the stage's start."""

    def __init__(
        self,
        policy: nn.Module,
        probe: Sequence[list[int]],
        context: StageContext,
        balance: float,
        start: Path | None,
        passes: Callable[[], int] = lambda: 1,
        counted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.policy, self.context = policy, context
        self.probe = [ids[:PROBE_TOKENS] for ids in spread_out(probe, PROBE)]
        self.watch = RouterWatch(policy, balance, passes, counted)
        if several(context):
            self.watch.processes = context.execution.devices.processes
            self.watch.total = partial(total, context)
        saved = read_json(start / STATE) if start else {}
        self.load: dict[int, Tensor] = {
            int(layer): tensor(counts) for layer, counts in saved.items()
        }
        """Tokens by expert (E,), by layer, since the last line; always on the CPU."""
        self.start = routing(policy, self.probe) if moe_layers(policy) else None

    def step(self, step: int, last: int) -> dict[str, float]:
        """The figures of an optimiser step of `last`; call it once, after the step."""
        counts, losses = self._counts(), self.watch.losses
        figures = load_metrics(counts)
        if losses:
            loss = total(self.context, tensor([sum(losses)], dtype=torch.float64)).item()
            figures["router/balance_loss"] = loss * len(counts) / len(losses)
        for layer, count in counts.items():
            self.load[layer] = self.load.get(layer, 0) + count
        self.watch.reset()
        every = self.context.execution.save_every
        if self.start is not None and (step % every == 0 or step == last):
            figures["router/drift"] = self._probe(step)
        return figures

    def _counts(self) -> dict[int, Tensor]:
        """Tokens by expert (E,), by layer, of the step so far; always on the CPU."""
        mine = {layer: count.cpu() for layer, count in self.watch.counts.items()}
        if not several(self.context):
            return mine
        none = {
            layer: torch.zeros(block.num_experts, dtype=torch.int64)
            for layer, block in moe_layers(self.policy).items()
        }
        return {layer: total(self.context, mine.get(layer, zero)) for layer, zero in none.items()}

    def save(self, checkpoint: Path) -> None:
        """Keep what the next line needs of the steps so far."""
        write_json(
            checkpoint / STATE, {str(layer): counts.tolist() for layer, counts in self.load.items()}
        )

    def _probe(self, step: int) -> float:
        assert self.start is not None
        now = routing(self.policy, self.probe)
        loads = {
            str(layer): [round(x, 4) for x in (n / n.sum()).tolist()]
            for layer, n in self.load.items()
        }
        by_layer = [round(differing(a, b), 4) for a, b in zip(now, self.start, strict=True)]
        drift = dict(zip(map(str, moe_layers(self.policy)), by_layer, strict=True))
        if self.context.main:
            ROUTING.append(self.context.folder, {"step": step, "drift": drift, "load": loads})
        self.load.clear()
        return differing(now, self.start)


def spread_out(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spaced."""
    step = max(1, len(items) / count)
    return [items[int(i * step)] for i in range(min(count, len(items)))]
