"""The files of a finished RL stage, and the figures that its record keeps."""

import shutil
from pathlib import Path

from common.files import read_json_lines, write_json
from curriculum.accounting import FATES, PREDICTIONS
from curriculum.curriculum import Curriculum
from curriculum.database import settle
from curriculum.ledger import Ledger
from curriculum.plots import PREFIX, plot
from training.router_metrics import FIGURES

GROUPS = "groups.jsonl"
METRICS = "metrics.jsonl"
LEDGER = "ledger.sqlite"
PROMPTS = "prompts.parquet"
CURRICULUM = (
    "committed_mixed_share",
    "start_difficulty",
    "predicted/brier",
    "predicted/calibration_error",
    "saved_rollouts",
    "saved_tokens",
    *(f"tokens/{fate}" for fate in FATES),
)
"""Figures of the curriculum, without their prefix."""
RECORDED = (
    "reward",
    "mixed_share",
    "entropy",
    "kl",
    "parity/rollout_gap",
    "parity/largest_gap",
    *FIGURES,
    *(PREFIX + name for name in CURRICULUM),
)
"""Figures of the last step that the stage's record keeps."""


def write_curriculum(curriculum: Curriculum, folder: Path) -> None:
    """`reliability.json` and `curriculum.png`."""
    accounting = curriculum.accounting
    curves = {kind: getattr(accounting, kind).curve() for kind in PREDICTIONS}
    write_json(folder / "reliability.json", curves)
    plot(read_json_lines(folder / METRICS), accounting, folder / "curriculum.png")


def close_ledger(ledger: Ledger, folder: Path) -> dict[str, int]:
    """Close the ledger for good; the number of prompts by state."""
    counts = ledger.counts()
    ledger.close()
    settle(folder / LEDGER)
    return counts


def copy_prompts(source: Path, folder: Path) -> None:
    """The prompts that the groups were rolled out for, which DPO reads beside them."""
    shutil.copyfile(source / PROMPTS, folder / PROMPTS)
