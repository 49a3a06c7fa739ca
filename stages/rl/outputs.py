"""The files of a finished RL stage, and the figures that its record keeps."""

import shutil
from pathlib import Path

from common.artifacts import CURRICULUM_PLOT, LEDGER, METRICS, PROMPTS, RELIABILITY
from curriculum.accounting import OUTCOMES, PREDICTIONS
from curriculum.curriculum import Curriculum
from curriculum.database import canonicalise
from curriculum.ledger import Ledger
from curriculum.plots import PREFIX, plot
from training.router_metrics import FIGURES

CURRICULUM = (
    "committed_mixed_share",
    "start_difficulty",
    "predicted/brier",
    "predicted/calibration_error",
    "saved_rollouts",
    "saved_tokens",
    *(f"tokens/{outcome}" for outcome in OUTCOMES),
)
"""Figures of the curriculum, without their prefix."""
RECORDED = (
    "reward",
    "pass_rate",
    "mixed_share",
    "entropy",
    "kl",
    "dev/score",
    "parity/rollout_gap",
    "parity/largest_gap",
    "parity/rollout_drift",
    "parity/largest_drift",
    *FIGURES,
    *(PREFIX + name for name in CURRICULUM),
)
"""Figures of the last step that the stage's record keeps."""


def write_curriculum(curriculum: Curriculum, folder: Path) -> None:
    """`reliability.json` and `curriculum.png`."""
    accounting = curriculum.accounting
    curves = {kind: getattr(accounting, kind).curve() for kind in PREDICTIONS}
    RELIABILITY.write(folder, curves)
    plot(METRICS.read(folder), accounting, CURRICULUM_PLOT.path(folder))


def close_ledger(ledger: Ledger, folder: Path) -> dict[str, int]:
    """Close the ledger for good; the number of prompts by state."""
    counts = ledger.counts()
    ledger.close()
    canonicalise(LEDGER.path(folder))
    return counts


def copy_prompts(source: Path, folder: Path) -> None:
    """The prompts that the groups were rolled out for, which DPO reads beside them."""
    shutil.copyfile(PROMPTS.path(source), PROMPTS.path(folder))
