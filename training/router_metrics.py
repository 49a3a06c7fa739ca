"""Router metrics of a training stage: the load of the experts at every step, and the drift of the
routing since the stage's start.

The drift is measured on a fixed probe, some of the stage's own sequences, at every checkpoint and
at the end. Each measurement adds a line to `routing.jsonl`, with the share of tokens that each
expert of each layer got since the line before."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn, tensor

from common.artifacts import ROUTING
from common.files import read_json, write_json
from models.routing import RouterWatch, differing, load_metrics, moe_layers, routing

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
        folder: Path,
        balance: float,
        every: int,
        start: Path | None,
        passes: Callable[[], int] = lambda: 1,
    ) -> None:
        self.policy, self.folder, self.every = policy, folder, every
        self.probe = [ids[:PROBE_TOKENS] for ids in spread_out(probe, PROBE)]
        self.watch = RouterWatch(policy, balance, passes)
        saved = read_json(start / STATE) if start else {}
        self.load: dict[int, Tensor] = {
            int(layer): tensor(counts) for layer, counts in saved.items()
        }
        """Tokens by expert (E,), by layer, since the last line; always on the CPU."""
        self.start = routing(policy, self.probe) if moe_layers(policy) else None

    def step(self, step: int, last: int) -> dict[str, float]:
        """The figures of an optimiser step of `last`; call it once, after the step."""
        counts = {layer: count.cpu() for layer, count in self.watch.counts.items()}
        figures = load_metrics(counts)
        losses = self.watch.losses
        if losses:
            figures["router/balance_loss"] = sum(losses) * len(counts) / len(losses)
        for layer, count in counts.items():
            self.load[layer] = self.load.get(layer, 0) + count
        self.watch.reset()
        if self.start is not None and (step % self.every == 0 or step == last):
            figures["router/drift"] = self._probe(step)
        return figures

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
        ROUTING.append(self.folder, {"step": step, "drift": drift, "load": loads})
        self.load.clear()
        return differing(now, self.start)


def spread_out(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spaced."""
    step = max(1, len(items) / count)
    return [items[int(i * step)] for i in range(min(count, len(items)))]
