"""The ledger that an RL stage starts from."""

from collections.abc import Sequence
from pathlib import Path

from common.artifacts import HELD_OUT, LEDGER
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from curriculum.stage_start import begin_stage
from prompts.schema import Prompt

FLAT = Beta(1.0, 1.0)
"""Prior of a prompt without a verdict: every pass rate is equally likely."""


def open_ledger(prompts: Sequence[Prompt], source: Path, path: Path, fresh: bool) -> Ledger:
    """The stage's ledger at `path`.

    A stage that resumes continues the ledger in its checkpoint (`source`). A fresh one starts from
    that of the judge filter or of an earlier RL stage; on plain prompts, which no judge has seen,
    from a new ledger."""
    if fresh and HELD_OUT.path(source).exists():  # only a `prompts` stage has it
        ledger = Ledger(path)
        ledger.add(
            NewPrompt(p.id, p.capability, p.source, FLAT, settings=p.difficulty) for p in prompts
        )
        return ledger
    ledger = Ledger.restore(LEDGER.path(source), path)
    if fresh:
        begin_stage(ledger)
    return ledger
