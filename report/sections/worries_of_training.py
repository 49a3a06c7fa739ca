"""Rules about training, judges and prompts (`report/sections/worries.py`)."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from report.sections.words import percent

Run = Mapping[str, Any]
Said = Iterator[tuple[str, str]]
OUT_OF_REACH, MIXED, CUT_OFF, NEAR = 0.5, 0.25, 0.1, 0.5
"""Shares: of a pool out of reach, of mixed groups, of rollouts cut off, of the tolerance."""
ENTROPY, RISE, FALL = 0.1, 0.02, 0.02
"""Share of its first value below which the entropy is gone; changes of reward and dev score."""
BUSY = 0.9
"""Share of the tokens on one expert."""


def _thirds(values: Sequence[float]) -> tuple[float, float]:
    """The means of the first and of the last third."""
    size = max(1, len(values) // 3)
    return fmean(values[:size]), fmean(values[-size:])


def reward_without_dev(run: Run) -> Said:
    """The reward rises while the score on the dev part falls."""
    for stage in run["signals"]:
        rewards, scores = stage["reward"], stage["dev"]
        if len(rewards) < 3 or len(scores) < 2:
            continue
        before, after = _thirds(rewards)
        if after - before > RISE and scores[0] - scores[-1] > FALL:
            yield (
                "worry",
                f"In {stage['stage']} the reward rises ({before:.2f} to {after:.2f}) while the dev"
                f" score falls ({percent(scores[0])} to {percent(scores[-1])}): the policy may be"
                " learning the reward and not the task.",
            )


def out_of_reach(run: Run) -> Said:
    """Prompts from which nothing can be learned, and what the filter said."""
    for stage in run["signals"]:
        for pool, share in stage["out_of_reach"].items():
            if share > OUT_OF_REACH:
                yield (
                    "worry",
                    f"{percent(share)} of the pool of {stage['stage']} is out of reach for the"
                    f" {pool}.",
                )
        for warning in stage["pool_warnings"]:
            yield "note", f"{stage['stage']}: {warning.removeprefix('WARNING: ')}"


def few_mixed_groups(run: Run) -> Said:
    """Groups without a gradient."""
    for stage in run["signals"]:
        if stage["mixed"] and (share := _thirds(stage["mixed"])[1]) < MIXED:
            yield (
                "worry",
                f"Towards its end only {percent(share)} of the groups of {stage['stage']} were"
                " mixed: most rollouts taught nothing.",
            )


def cut_off_rollouts(run: Run) -> Said:
    """Rollouts that the limit of tokens ended."""
    for stage in run["signals"]:
        if stage["cut_off"] and (share := _thirds(stage["cut_off"])[1]) > CUT_OFF:
            yield (
                "worry",
                f"Towards its end {percent(share)} of the rollouts of {stage['stage']} were cut"
                " off: raise max_tokens, or look at what they repeat.",
            )


def entropy_gone(run: Run) -> Said:
    """A policy that explores no more."""
    for stage in run["signals"]:
        if stage["reward"] and len(stage["entropy"]) >= 3:
            before, after = _thirds(stage["entropy"])
            if after < ENTROPY * before:
                yield (
                    "worry",
                    f"The entropy of {stage['stage']} fell from {before:.3f} to {after:.3f} nats"
                    " per token: it explores hardly any more.",
                )


def parity_near_its_limit(run: Run) -> Said:
    """Engine and trainer that drift apart."""
    for stage in run["health"]:
        gap, limit = stage["largest_gap"], stage["tolerance"]
        if gap is not None and limit and gap > NEAR * limit:
            yield (
                "worry",
                f"In {stage['stage']} engine and trainer differ by up to {gap:.2g} nats per token,"
                f" which is {percent(gap / limit)} of the tolerance.",
            )


def idle_experts(run: Run) -> Said:
    """Experts without tokens, or one with nearly all."""
    for stage in run["health"]:
        if dead := stage["dead_experts"]:
            verb = "expert got" if dead == 1 else "experts got"
            yield "note", f"{dead:g} {verb} no tokens at the end of {stage['stage']}."
        if (load := stage["largest_load"]) is not None and load > BUSY:
            yield (
                "worry",
                f"One expert takes {percent(load)} of a layer's tokens in {stage['stage']}.",
            )


def weak_judge(run: Run) -> Said:
    """Judges that an audit or a verifier does not confirm."""
    for stage in run["judging"]:
        for audit in stage["audits"]:
            if not audit.get("worth_asking", True):
                yield "worry", f"The judge of {stage['stage']}: {audit['sentence']}"
        for one in stage["agreements"]:
            if one.get("conclusion") != "agrees":
                yield "worry", f"{stage['stage']}: {one['sentence']}"
    for stage in run["signals"]:
        if (share := stage["faulty_replies"]) is not None and share > CUT_OFF:
            yield (
                "worry",
                f"{percent(share)} of the replies of the judge of {stage['stage']} had a fault.",
            )


def doubtful_prompts(run: Run) -> Said:
    """Rows that were left out, and references that contradict each other."""
    for stage in run["signals"]:
        for name, what in (
            ("bad_rows", "rows could not be used"),
            ("contradictions", "prompts have reference answers that contradict each other"),
        ):
            if count := stage[name]:
                yield "worry", f"{count} {what} ({stage['stage']})."
