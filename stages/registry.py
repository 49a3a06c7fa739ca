"""The kinds of stage. A new kind is one folder and one line here."""

from stages.adopt.config import AdoptStage
from stages.declaration import StageConfig
from stages.dpo.config import DpoStage
from stages.judge_filter.config import JudgeFilterStage
from stages.rl.config import RlStage
from stages.sft.config import SftStage

KINDS: tuple[type[StageConfig], ...] = (
    JudgeFilterStage,
    SftStage,
    RlStage,
    DpoStage,
    AdoptStage,
)
"""The kinds that a recipe's `stages` may contain, in the order in which messages list them."""
