"""The judges of a filter: who they are, opened only when a question is open."""

from collections.abc import Callable, Sequence
from pathlib import Path

from common.seeds import derive
from common.stage import StageContext
from judges.attempts import Attempts
from judges.cache import Cache
from judges.config import AttemptsJudge, JudgeConfig, RubricJudge
from judges.judging import Judge
from judges.pairwise import Pairwise
from judges.rubric import Rubric
from judges.source import Choice, Completion, Likelihood, Line, Question, Request, Source
from models.packaged import cache_folder, resolve_dense
from prompts.schema import Prompt
from rewards.grade import grade

VERDICTS = "verdicts.sqlite"
"""The verdict cache, in the same folder as converted models."""


class Lazy:
    """A source that is opened when it is first asked: what the cache knows needs no model in memory."""

    def __init__(self, open_: Callable[[], Source]) -> None:
        self._open = open_
        self._opened: Source | None = None

    def _source(self) -> Source:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def sample(self, requests: Sequence[Request]) -> list[list[Completion]]:
        return self._source().sample(requests)

    def choose(self, questions: Sequence[Question]) -> list[Choice]:
        return self._source().choose(questions)

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Likelihood]:
        return self._source().likelihoods(prompts)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._opened = None


def cache_path() -> Path:
    return cache_folder() / VERDICTS


def source_of(judge: JudgeConfig, cache: Cache, context: StageContext, line: Line) -> tuple[Lazy, dict[str, str]]:
    """Where a judge's replies come from, and who it is: a checksum of its files, or its address and name."""
    if judge.model is None:
        from judges.endpoint import EndpointSource

        assert judge.url is not None
        return Lazy(lambda: EndpointSource(judge, line)), {"url": judge.url}
    folder = resolve_dense(judge.model)

    def open_engine() -> Source:
        from judges.engine import EngineSource
        from rollouts.engine import Engine

        return EngineSource(Engine(folder, judge.rollouts, derive(context.seed, "engine")))

    return Lazy(open_engine), {"weights": cache.folder_sum(folder)}


def judge_of(config: JudgeConfig, source: Source) -> Judge:
    if isinstance(config, AttemptsJudge):
        return Attempts(config, source, grade)
    if isinstance(config, RubricJudge):
        return Rubric(config, source)
    return Pairwise(config, source)
