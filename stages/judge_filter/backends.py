"""The judges of a filter and their backends. A backend is opened when it is first asked: for what
the verdict cache knows, no model is loaded."""

from collections.abc import Callable, Sequence

from common.reply_cache import ReplyCache
from common.seeds import derive
from common.stage import StageContext
from judges.ask import Judge
from judges.attempts import Attempts
from judges.backend import (
    Backend,
    BackendMonitor,
    Choice,
    Completion,
    Likelihood,
    Question,
    SamplingRequest,
)
from judges.config import AttemptsJudge, JudgeConfig, RubricJudge
from judges.pairwise import Pairwise
from judges.rubric import Rubric
from models.packaged import resolve_dense
from prompts.schema import Prompt
from rewards.grader import Grader


class LazyBackend:
    """A source that is opened when it is first asked: what the cache knows needs no model in
    memory."""

    def __init__(self, open_: Callable[[], Backend]) -> None:
        self._open = open_
        self._opened: Backend | None = None

    def _backend(self) -> Backend:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def sample(self, requests: Sequence[SamplingRequest]) -> list[list[Completion]]:
        return self._backend().sample(requests)

    def choose(self, questions: Sequence[Question]) -> list[Choice]:
        return self._backend().choose(questions)

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Likelihood]:
        return self._backend().likelihoods(prompts)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._opened = None


def backend_of(
    judge: JudgeConfig, cache: ReplyCache, context: StageContext, monitor: BackendMonitor
) -> tuple[LazyBackend, dict[str, str]]:
    """Where a judge's replies come from, and who it is: a checksum of its files, or its address and
    name."""
    if judge.model is None:
        from judges.endpoint import EndpointBackend

        assert judge.url is not None
        return LazyBackend(lambda: EndpointBackend(judge, monitor)), {"url": judge.url}
    folder = resolve_dense(judge.model)

    def open_engine() -> Backend:
        from judges.engine import EngineBackend
        from rollouts.start import start_engine

        engine = start_engine(folder, judge.rollouts, derive(context.seed, "engine"), context)
        return EngineBackend(engine)

    return LazyBackend(open_engine), {"weights": cache.folder_sum(folder)}


def judge_of(config: JudgeConfig, backend: Backend, grader: Grader) -> Judge:
    """The judge of a config, whose replies come from `backend`."""
    if isinstance(config, AttemptsJudge):
        return Attempts(config, backend, grader)
    if isinstance(config, RubricJudge):
        return Rubric(config, backend)
    return Pairwise(config, backend)
