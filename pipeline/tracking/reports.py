"""What one tracker gets of a run, and what it got already: the part of a tracker's process that
decides.

A curve has one value a step, whatever happened to the stage. A resumed stage cuts its log back and
repeats steps. A tracker that rewrites gets the whole log again, so its curve is that of the log. To
the others only steps are sent that they do not have; what is repeated is not sent twice."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.artifacts import METRICS, RESULTS
from common.files import read_json, write_json
from common.fingerprint import fingerprint
from pipeline.store.record import ATTEMPT, RECORD
from pipeline.tracking.follow import Follower
from pipeline.tracking.interface import StageRun, Tracker
from pipeline.tracking.names import STEP, curve_values, evaluation_values, summary_values
from pipeline.tracking.samples import tables_of

ABOUT = ("kind", "config", "execution", "seed", "fingerprint")
"""What a run's config in the tracker is made of."""


@dataclass
class Sent:
    """What a tracker has of an execution of a stage."""

    started: str
    """Start of the stage's first attempt: another execution has another one."""
    number: int = 1
    """Of the executions of this stage."""
    known: str | None = None
    """The run's name in the tracker."""
    step: int = -1
    """The last step that was sent."""
    complete: bool = False
    """Whether everything was sent, the figures of the whole stage included."""


class Reports:
    """Sends stages to one tracker. Its memory is the file `<tracker>.json` in `folder`."""

    def __init__(self, tracker: Tracker, folder: Path, name: str, project: str) -> None:
        self.tracker, self.project = tracker, project
        self.group = folder.absolute().parent.name
        self.memory = folder / f"{name}.json"
        stored = read_json(self.memory) if self.memory.exists() else {}
        self.sent = {stage: Sent(**values) for stage, values in stored.items()}
        self._stage: str | None = None
        self._run: StageRun | None = None
        self._folder = Path()
        self._log = Follower(Path())

    def begin(self, stage: str, folder: Path, partial: Path) -> None:
        """Follow the log of a stage that is to run, or has run already. `folder` is its finished
        folder, which need not exist."""
        self.leave()
        about = self._about(folder, partial)
        if about is None:
            return
        started, sent = _started(about), self.sent.get(stage)
        if sent is None or sent.started != started:
            sent = Sent(started, sent.number + 1 if sent else 1)
        if sent.complete:
            return
        self.sent[stage] = sent
        self._stage, self._folder = stage, folder
        self._log = Follower(METRICS.path(partial))
        self._run = StageRun(
            self.project,
            self.group,
            stage if sent.number == 1 else f"{stage}-{sent.number}",
            about["kind"],
            fingerprint([str(self.memory.absolute()), stage, started])[:16],
            {name: about[name] for name in ABOUT if name in about},
        )
        self._open(sent.known)

    def follow(self, last: bool = False) -> None:
        """Send what is new in the log of the present stage. The last time all of it is compared
        with what was sent."""
        if self._stage is None:
            return
        cut, rows = self._log.read(whole=last)
        sent = self.sent[self._stage]
        if cut and self.tracker.rewrites:
            self._open(sent.known)
        before = sent.step
        for row in rows:
            if row[STEP] > sent.step:
                self.tracker.log(row[STEP], curve_values(row, self.tracker.prefix))
                sent.step = row[STEP]
        if sent.step != before:
            self._remember()

    def finish(self, stage: str, folder: Path, partial: Path) -> None:
        """Send the rest of a finished stage, unless it was sent before."""
        if self._stage != stage:
            self.begin(stage, folder, partial)
        self.leave()

    def leave(self) -> None:
        """Send the rest of the present stage and close its run. It is complete if its folder is."""
        if self._stage is None:
            return
        sent, summary = self.sent[self._stage], {}
        record = read_json(self._folder / RECORD) if (self._folder / RECORD).exists() else None
        if record is not None:
            self._log.path = METRICS.path(self._folder)
        self.follow(last=True)
        if record is not None:
            summary = summary_values(record)
            if RESULTS.path(self._folder).exists():
                summary |= evaluation_values(self._folder)
            for table in tables_of(self._folder):
                self.tracker.table(max(sent.step, 0), table)
        self.tracker.end(max(sent.step, 0), summary, record is not None)
        sent.complete, self._stage = record is not None, None
        self._remember()

    def _open(self, known: str | None) -> None:
        assert self._stage is not None and self._run is not None
        sent = self.sent[self._stage]
        sent.known, last = self.tracker.begin(self._run, known)
        sent.step = -1 if self.tracker.rewrites else sent.step if last is None else last
        self._remember()

    def _about(self, folder: Path, partial: Path) -> dict[str, Any] | None:
        """The attempt at a stage, or the record of a finished one; None where there is neither."""
        for path in (partial / ATTEMPT, folder / RECORD):
            try:
                return dict(read_json(path))
            except FileNotFoundError:
                continue
        return None

    def _remember(self) -> None:
        write_json(self.memory, {stage: asdict(sent) for stage, sent in self.sent.items()})


def _started(about: dict[str, Any]) -> str:
    """When the first attempt at a stage began, of an attempt or a record."""
    return str(about["first"] if "first" in about else about["started"])
