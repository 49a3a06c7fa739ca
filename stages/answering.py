"""The engine of an evaluation, with the run's memory of replies where there is one."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from common.artifacts import CHECKPOINT
from common.reply_cache import ReplyCache
from common.stage import StageContext
from evals.remembered import WHAT, RememberedEngine, content_of
from rollouts.config import RolloutConfig
from rollouts.interface import AnsweringEngine, RolloutEngine

BATCHES = 2
"""Prompts per call of the engine, in multiples of the sequences that it decodes together."""


@contextmanager
def answering(
    rollouts: RolloutConfig, stage: Path, context: StageContext
) -> Iterator[AnsweringEngine]:
    """The engine on the checkpoint in the folder of a stage, with a memory where there is one."""
    checkpoint = CHECKPOINT.path(stage)

    def start() -> RolloutEngine:
        from rollouts.start import start_engine

        return start_engine(checkpoint, rollouts, context.seed, context)

    if context.replies is None:
        with closing(start()) as engine:
            yield engine
        return
    with ReplyCache(context.replies, WHAT) as cache:
        content = content_of(stage, cache)
        remembered = RememberedEngine(start, checkpoint, rollouts, cache, content)
        with closing(remembered):
            yield remembered
        if remembered.known:
            total = remembered.known + remembered.asked
            context.note(
                f"{remembered.known} of {total} requests were answered by this checkpoint before"
                f" ({context.replies.name}): the engine was not asked again"
            )
