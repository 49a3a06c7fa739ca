"""Which prompts are the easiest: pure ranking of verdicts, an exact share of each capability.

A prompt without any graded attempt is neither easy nor hard: it is set aside as `unjudged`, takes no part in the
ranking, and the share is taken of the judged ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from common.errors import BadInput, RunFailed
from common.quotas import apportion
from common.seeds import derive
from judges.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one prompt, and why."""

    id: str
    capability: str
    decision: Literal["kept", "dropped", "unjudged"]
    rank: int | None
    """Place among the judged prompts of its capability, 1 = easiest; None: unjudged."""
    pass_rate: float | None
    reference_logprob: float | None
    reason: str


def cut_easiest(
    verdicts: Sequence[Verdict], capabilities: Mapping[str, str], share: float, seed: int
) -> tuple[list[Decision], list[Decision]]:
    """Split prompts into (kept, taken out); the second has the dropped and the unjudged, each with its reason.

    `capabilities` maps prompt ids to capabilities. Of n judged prompts exactly floor(share n + 1/2) are dropped, spread
    over the capabilities by largest remainder; each keeps at least one. Easier is: a higher pass rate (posterior mean);
    at the same rate, as when all attempts pass or all fail, a higher likelihood of the reference answer (unknown ones
    count as hardest); then the seed decides. The order of `verdicts` changes nothing.

    Raises BadInput if the share leaves a capability without a prompt, RunFailed if none of one could be judged.
    """
    if len({verdict.id for verdict in verdicts}) != len(verdicts):
        raise ValueError("two verdicts on one prompt")
    ranked: dict[str, list[Verdict]] = {capabilities[verdict.id]: [] for verdict in verdicts}
    for verdict in sorted(verdicts, key=lambda verdict: _ease(verdict, seed)):
        if verdict.graded:
            ranked[capabilities[verdict.id]].append(verdict)
    _check_all_judged(verdicts, capabilities, ranked)
    drops = drop_counts({capability: len(members) for capability, members in ranked.items()}, share)
    kept: list[Decision] = []
    out: list[Decision] = []
    for capability in sorted(ranked):
        members = ranked[capability]
        for rank, verdict in enumerate(members, start=1):
            dropped = rank <= drops[capability]
            decision = _judged(verdict, capability, rank, len(members), dropped)
            (out if dropped else kept).append(decision)
    aside = [verdict for verdict in verdicts if not verdict.graded]
    out += [_unjudged(verdict, capabilities[verdict.id]) for verdict in sorted(aside, key=lambda verdict: verdict.id)]
    return kept, out


def drop_counts(sizes: Mapping[str, int], share: float) -> dict[str, int]:
    """How many prompts each capability loses: floor(share n + 1/2) in all. BadInput if one would lose its last."""
    # The share as it is written: 0.145 of 100 is 14.5, though the float nearest to 0.145 lies below.
    total = int(Fraction(repr(share)) * sum(sizes.values()) + Fraction(1, 2))
    capacity = {capability: size - 1 for capability, size in sizes.items()}
    if total > sum(capacity.values()):
        raise BadInput(
            f"drop_easiest {share} drops {total} of {sum(sizes.values())} prompts, which leaves none of some of the "
            f"{len(sizes)} capabilities ({', '.join(f'{name}: {size}' for name, size in sorted(sizes.items()))})",
            "lower drop_easiest or give the small capabilities more prompts",
        )
    return apportion(total, sizes, capacity)


def _ease(verdict: Verdict, seed: int) -> tuple[float, float, int, str]:
    """Sort key: easiest first."""
    likelihood = float("-inf") if verdict.reference_logprob is None else verdict.reference_logprob
    return (-(verdict.pass_rate or 0.0), -likelihood, derive(seed, verdict.id), verdict.id)


def _check_all_judged(
    verdicts: Sequence[Verdict], capabilities: Mapping[str, str], ranked: Mapping[str, list[Verdict]]
) -> None:
    for capability in sorted(name for name, members in ranked.items() if not members):
        faults = sorted({reason for v in verdicts if capabilities[v.id] == capability for reason in v.faults})
        raise RunFailed(
            f"no prompt of capability {capability!r} could be judged: {', '.join(faults)}",
            "check its verifier and the length of its prompts, or leave the capability out",
        )


def _judged(verdict: Verdict, capability: str, rank: int, count: int, dropped: bool) -> Decision:
    likelihood = "unknown" if verdict.reference_logprob is None else f"{verdict.reference_logprob:.3f}"
    said = f"{verdict.passed} of {verdict.graded} attempts passed, reference log-likelihood a token {likelihood}"
    reason = f"{'easy' if dropped else 'hard'}: place {rank} of {count} in {capability}, easiest first ({said})"
    decision: Literal["kept", "dropped"] = "dropped" if dropped else "kept"
    return Decision(verdict.id, capability, decision, rank, verdict.pass_rate, verdict.reference_logprob, reason=reason)


def _unjudged(verdict: Verdict, capability: str) -> Decision:
    reason = f"unjudged: {', '.join(verdict.faults)}"
    return Decision(verdict.id, capability, "unjudged", None, None, verdict.reference_logprob, reason)
