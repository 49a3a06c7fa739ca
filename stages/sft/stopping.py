"""When SFT ends, and which probe's weights it keeps: pure functions of what the probes measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.sft.stop_when import StopWhen

PASS_AT_K, PATIENCE, ENTROPY, EPOCHS = "pass_at_k", "patience", "entropy", "epochs"
"""Why SFT ended: the setting that was decisive."""


@dataclass(frozen=True)
class Measured:
    """What a probe measured. None: nothing, as no answer could be graded or none was sampled."""

    step: int
    pass_at_k: float | None
    entropy: float | None
    format: float | None


def is_valid(probe: Measured, settings: StopWhen) -> bool:
    """Whether the policy of a probe may be kept, and the probe may end SFT."""
    measured = probe.pass_at_k is not None and probe.format is not None
    return measured and (probe.format or 0.0) >= settings.format


def best(probes: Sequence[Measured], settings: StopWhen) -> Measured | None:
    """The valid probe with the highest pass@k, of equal ones the earliest; None without any."""
    valid = [probe for probe in probes if is_valid(probe, settings)]
    return max(valid, key=lambda probe: probe.pass_at_k or 0.0, default=None)


def ended_by(probes: Sequence[Measured], settings: StopWhen) -> str | None:
    """What ends SFT after the last of the probes, in the order `pass_at_k`, `entropy`, `patience`;
    None if nothing does."""
    if _reached(probes[-1], settings):
        return PASS_AT_K
    if _collapsed(probes[-1], settings):
        return ENTROPY
    kept = best(probes, settings)
    if kept is None or settings.patience is None:
        return None
    since = sum(probe.step > kept.step for probe in probes)
    return PATIENCE if since >= settings.patience else None


def _reached(probe: Measured, settings: StopWhen) -> bool:
    wanted, measured = settings.pass_at_k, probe.pass_at_k
    if wanted is None or measured is None:
        return False
    return measured >= wanted and is_valid(probe, settings)


def _collapsed(probe: Measured, settings: StopWhen) -> bool:
    floor = settings.entropy
    return floor is not None and probe.entropy is not None and probe.entropy < floor
