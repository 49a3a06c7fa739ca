"""What a training stage starts from: its first policy version, and how hard the pool was then."""

from curriculum.config import CurriculumConfig, Posterior
from curriculum.ledger import Ledger
from curriculum.pool import Pool

FIRST_VERSION = "first_version"
"""The ledger remembers under this name the policy version that the stage began with; none: 0."""
ACCOUNTING = "accounting"
"""Name of the stage's `RolloutAccounting`."""
EMPTY_STEPS = "empty_steps"
"""Name of the stage's `EmptySteps`."""
PROFILE = "profile"
"""Name of the stage's `Profile` of the pool."""
START = "start"
"""Name of the estimated pass rates at step SETTLED, of the pool and by difficulty group."""
SETTLED = 10
"""The first step at which the pool's estimates are taken as accurate."""


def begin_stage(ledger: Ledger) -> None:
    """Prepare the ledger of an earlier stage for a new one: drop that stage's sums, and continue
    its numbering of policy versions.

    Prompts that were retired for lack of room are reactivated: this stage may have more. A ledger
    without rollouts, such as a judge's, stays as it is."""
    versions = [
        version
        for row in ledger.columns("seen_version", "state_version")
        for version in row
        if version is not None
    ]
    if not versions:
        return
    first = max(versions) + 1
    with ledger.transaction():
        ledger.remember(ACCOUNTING, None)
        ledger.remember(EMPTY_STEPS, None)
        if ledger.remembered(PROFILE, None) is not None:
            ledger.remember(PROFILE, None)
        ledger.remember(FIRST_VERSION, first)
        rows = ledger.columns("id", "state", "passes", "fails")
        unfit = [
            id for id, state, passes, fails in rows if state == "retired" and not passes + fails
        ]
        ledger.reactivate(unfit, first)


def remember_start(ledger: Ledger, pool: Pool, version: int, pool_rate: float) -> None:
    """Store once, at step SETTLED, how hard the pool was for the policy that training began
    with."""
    if version >= SETTLED and ledger.remembered(START, None) is None:
        rates = {str(id): estimate.mean for id, estimate in pool.group_estimates(version).items()}
        ledger.remember(START, {"pool_rate": pool_rate, "difficulty_groups": rates})


def raised_band(config: CurriculumConfig, ledger: Ledger, pool_rate: float) -> tuple[float, float]:
    """The band, moved to lower pass rates in proportion to the share of the pool that was solved
    since the start."""
    if not isinstance(config, Posterior):
        return 0.0, 1.0
    start = ledger.remembered(START, {"pool_rate": pool_rate})["pool_rate"]
    solved = min(max((pool_rate - start) / (1 - start), 0.0), 1.0)
    low, high = config.band
    down = config.raise_band * solved
    return max(low - down, 0.0), max(high - down, 0.0)
