"""Before RL trains on a judge's rewards: does the judge agree with a verifier on the same prompts?

Asked once, of a sample of rollouts of the policy that the stage starts from, where prompts have
both (`judges/agreement.py`). A judge that cannot tell is named to the user."""

from collections.abc import Sequence

from common.artifacts import REWARD_AGREEMENT
from common.seeds import derive
from common.stage import StageContext
from judges.agreement import agreements, has_both
from prompts.sample import sample
from prompts.schema import Prompt
from rewards.grader import Grade, Grader
from stages.rl.collector import RolloutCollector

PROMPTS = 64
"""Prompts in the sample, each with a group of rollouts."""


def check_agreement(collector: RolloutCollector, context: StageContext) -> None:
    """Write `reward_agreement.jsonl`, and tell the user what it says; nothing where no prompt has
    a judge's reward and a verifier's."""
    both = [prompt for prompt in collector.prompts.values() if has_both(prompt)]
    drawn = sample(both, PROMPTS, derive(context.seed, "agreement"))
    chosen = [prompt for prompt in drawn if not collector.encoder.unusable(prompt.id)]
    if not chosen:
        return
    context.progress(0, collector.config.steps, unit="step")
    texts = _rolled_out(collector, chosen, context.seed)
    graded = _graded(collector.grader, chosen, texts)
    found = agreements(graded, derive(context.seed, "agreement"))
    REWARD_AGREEMENT.write(context.folder, [one.to_json() for one in found])
    for one in found:
        context.note(one.sentence)


def _rolled_out(
    collector: RolloutCollector, prompts: Sequence[Prompt], seed: int
) -> list[list[str]]:
    """The complete rollouts of each prompt, as the stage samples them."""
    config = collector.config
    groups = collector.engine.generate(
        [collector.encoder.encoded(prompt.id, 0) for prompt in prompts],
        samples=config.group_size,
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        seeds=[derive(seed, "agreement", prompt.id) for prompt in prompts],
    )
    return [[one.text for one in group if one.finish == "stop"] for group in groups]


def _graded(
    grader: Grader, prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]
) -> list[tuple[Prompt, Sequence[Grade]]]:
    waiting = [grader.submit(prompt, own) for prompt, own in zip(prompts, texts, strict=True)]
    return [(prompt, grades()) for prompt, grades in zip(prompts, waiting, strict=True)]
