"""A judge that is asked about answers while a stage runs: from several threads, its replies kept.

A judge in a folder runs in a server process of its own. An engine in this process would not bear
several threads, and vLLM does not bear a second engine beside the policy's. An endpoint takes
requests from all threads, `concurrency` of them at once."""

import atexit
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from common.devices import DevicesConfig, ServerPlaces, Servers
from common.execution import ExecutionConfig
from common.fingerprint import fingerprint
from common.reply_cache import ReplyCache
from common.seeds import derive
from common.stage import StageContext
from judges.ask import RawReplies, has_fault, require_reachable
from judges.backend import (
    Backend,
    BackendMonitor,
    Choice,
    Question,
    choose_with_retries,
    last_choice,
)
from judges.verdict import TRANSPORT_FAULTS, UNCACHED_FAULTS
from prompts.judge_parts import JudgePart
from prompts.part import RewardPart
from rewards.interface import Resources
from rollouts.config import RolloutConfig

RECENT = 512
"""Questions by which a judge counts as reachable or not, the last ones that were asked."""


class OpenJudge:
    """A judge. It is started when it is first asked what the cache does not know."""

    def __init__(
        self,
        part: JudgePart,
        identity: Mapping[str, str],
        start: Callable[[], Backend],
        cache: ReplyCache,
        monitor: BackendMonitor,
    ) -> None:
        """`identity`: who answers, as JSON values: a checksum of its weights, or its URL."""
        self._who = [identity, asked(part)]
        self._retries, self._start = part.retries, start
        self._cache, self._monitor = cache, monitor
        self._backend: Backend | None = None
        self._starting, self._noting = Lock(), Lock()
        # Questions that are computed together decide each other's last bits: the questions of a
        # call stay together, so that a run that continues after a kill gets the same replies.
        self._turn: AbstractContextManager[Any] = Lock() if part.model else nullcontext()
        self._recent: deque[RawReplies] = deque(maxlen=RECENT)

    def choose(self, questions: Sequence[Question]) -> list[Choice]:
        """The reply to each question; a fault is set where there is none. Of equal questions the
        first reply alone has the tokens.

        Raises RunFailed if the judge cannot be reached any more, and what every further question
        would meet as well, such as a refused key."""
        keys = [fingerprint([self._who, q.messages, q.lead, q.labels]) for q in questions]
        wanted = dict(zip(keys, questions, strict=True))
        replies = self._cache.get(wanted)
        missing = [key for key in wanted if key not in replies]
        asked_now = list(missing)
        for _ in range(2):  # questions lost in transport are asked once more
            if missing:
                replies |= self._asked({key: wanted[key] for key in missing})
                missing = [key for key in missing if has_fault(replies[key], TRANSPORT_FAULTS)]
        self._note(replies[key] for key in asked_now)
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        choices = [Choice(**replies[key]["replies"][0]) for key in keys]
        return [
            choice if first[key] == place else replace(choice, tokens=0)
            for place, (key, choice) in enumerate(zip(keys, choices, strict=True))
        ]

    def _asked(self, questions: Mapping[str, Question]) -> dict[str, RawReplies]:
        """The replies of the judge itself; those that may be kept are in the cache afterwards."""
        backend = self._started()
        with self._turn:
            choices = choose_with_retries(backend, list(questions.values()), self._retries)
        replies: dict[str, RawReplies] = {
            key: {"replies": [{"weights": one.weights, **one.without_weights()}]}
            for key, one in zip(questions, map(last_choice, choices), strict=True)
        }
        self._cache.put(
            {key: raw for key, raw in replies.items() if not has_fault(raw, UNCACHED_FAULTS)}
        )
        if self._monitor.failure is not None:
            raise self._monitor.failure
        return replies

    def _note(self, replies: Iterable[RawReplies]) -> None:
        with self._noting:
            self._recent.extend(replies)
            require_reachable(self._recent)

    def _started(self) -> Backend:
        with self._starting:
            if self._backend is None:
                self._backend = self._start()
            return self._backend

    def close(self) -> None:
        """End what was started."""
        with closing(self._cache):
            if self._backend is not None:
                self._backend.close()


def asked(part: JudgePart) -> dict[str, Any]:
    """The settings of a judge that affect a reply."""
    engine = {"dtype": part.dtype, "max_model_len": part.max_model_len} if part.model else {}
    own = {"model_name": part.model_name, "seed": part.seed, "retries": part.retries}
    return own | engine | part.request()


def open_judge(part: JudgePart, resources: Resources, cache: ReplyCache) -> OpenJudge:
    """The judge of a part. Raises BadInput where its folder or its key is missing."""
    monitor = BackendMonitor(note=resources.note)
    if part.url is not None:
        from judges.endpoint import EndpointBackend

        backend = EndpointBackend(part, monitor)
        return OpenJudge(part, {"url": part.url}, lambda: backend, cache, monitor)
    from models.packaged import resolve_dense

    assert part.model is not None
    folder = resolve_dense(part.model)
    identity = {"weights": cache.folder_sum(folder)}
    return OpenJudge(part, identity, lambda: _server(part, folder, resources), cache, monitor)


def _server(part: JudgePart, folder: Path, resources: Resources) -> Backend:
    from judges.engine import EngineBackend
    from rollouts.start import start_engine

    config = RolloutConfig(dtype=part.dtype, max_model_len=part.max_model_len)
    context = _context(part, resources)
    return EngineBackend(start_engine(folder, config, derive(part.seed, "engine"), context))


def _context(part: JudgePart, resources: Resources) -> StageContext:
    """A context in which an engine is one server, whatever the layout of the policy's engine is.
    The server shares the stage's cores."""
    layout = DevicesConfig(engine=Servers(kind="server", memory_share=part.memory_share))
    stage = resources.context
    execution = stage.execution if stage is not None else ExecutionConfig()
    return StageContext(
        folder=_log_folder(resources),
        seed=part.seed,
        progress=lambda *_, **__: None,
        stop_requested=lambda: False,
        threads=resources.threads,
        note=resources.note,
        execution=execution.model_copy(update={"devices": layout}),
        servers=ServerPlaces(threads=resources.threads),
    )


def _log_folder(resources: Resources) -> Path:
    """A new folder for the server's log: among what is removed when the stage is finished, or this
    process where there is none."""
    if resources.folder is None:
        folder = Path(tempfile.mkdtemp(prefix="uphill-judge-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder
    scratch = resources.folder / "resume"
    scratch.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="judge-", dir=scratch))


class Judges:
    """The judges that are open, one for all parts whose judges have the same settings."""

    def __init__(self, cache: Callable[[], ReplyCache]) -> None:
        """`cache` opens the cache of replies."""
        self._cache, self._lock = cache, Lock()
        self._open: dict[str, tuple[OpenJudge, int]] = {}
        """Each with the number of its users."""

    def open(self, part: JudgePart, resources: Resources) -> OpenJudge:
        """The judge of a part. `close` it in the end, with the same part."""
        key = _key(part)
        with self._lock:
            judge, users = self._open.get(key) or (self._opened(part, resources), 0)
            self._open[key] = judge, users + 1
        return judge

    def _opened(self, part: JudgePart, resources: Resources) -> OpenJudge:
        cache = self._cache()
        try:
            return open_judge(part, resources, cache)
        except BaseException:
            cache.close()
            raise

    def close(self, part: JudgePart) -> None:
        """One of its users needs the judge of a part no more; the last one ends it."""
        with self._lock:
            judge, users = self._open.pop(_key(part))
            if users > 1:
                self._open[_key(part)] = judge, users - 1
            else:
                judge.close()


def _key(part: JudgePart) -> str:
    """The settings of the judge alone."""
    of_judge = JudgePart.model_fields.keys() - RewardPart.model_fields.keys() - {"show_reference"}
    return fingerprint(part.model_dump(mode="json", include=of_judge))
