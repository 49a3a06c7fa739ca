"""Settings of RL's own evaluation; light."""

from stages.dev_part import DevPart


class RlEvaluation(DevPart):
    """RL's own evaluation: every few steps the policy answers the dev part of a suite greedily,
    with the stage's own engine."""

    keep_best: bool = False
    """Whether the stage's checkpoint is that of the evaluated step with the best dev score, of
    equal ones the later; otherwise it is that of the last step."""
