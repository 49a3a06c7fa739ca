"""Made-up runs for the check of reports: one whose texts are hostile, one of 100,000 answers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from common.artifacts import ANSWERS, METRICS, RESULTS
from common.files import write_json, write_json_lines
from common.seeds import derive
from evals.answer import Answer
from evals.compare import Evaluation
from evals.figures import summaries
from report.source import RunSource, StageSource

MARKUP = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
HOSTILE = (
    MARKUP,
    "<!--<script>{{7*7}}${window.hacked=1}javascript:window.hacked=1",
    "\u202egnp.exe\u2066\u200b\x1b[2J\x1b]0;title\x07\x00\ud7ff\ufeff",
    "<svg onload=window.hacked=1><style>*{display:none}</style>" + "\u0301" * 300,
    "w" * 100_000,
    "👩\u200d🚀 שלום עולם کتاب\u200cها",
    "",
)
CHECKPOINTS = ("base", "first", "second", "third")


def hostile_run(folder: Path) -> RunSource:
    """Every name and every text is one that wants to be more than text."""
    names = [f"{text[:300]} {number}" for number, text in enumerate(HOSTILE)]

    def answers(checkpoint: int) -> Iterator[Answer]:
        for number in range(300):
            text = HOSTILE[number % len(HOSTILE)]
            capability = names[number % 4]
            right = derive(checkpoint, "right", number) % 4 < checkpoint
            yield _answer(f"{text[:500]}{number}", right, text, capability, text)

    stages = list(_stages(folder, names[:4], [list(answers(n)) for n in range(4)]))
    rows = [{"step": step, "reward": step / 9, MARKUP: 1.0} for step in range(9)]
    write_json_lines(METRICS.path(stages[0].folder), rows)
    return _run(MARKUP, stages)


def large_run(folder: Path, prompts: int = 25_000) -> RunSource:
    """Four checkpoints, each with 25,000 answers of up to 3,000 letters."""

    def answers(checkpoint: int) -> list[Answer]:
        return [
            _answer(
                f"prompt-{number}",
                derive(checkpoint, "right", number) % 10 < 2 * checkpoint,
                f"{number} is an answer. " * (1 + derive(checkpoint, "length", number) % 150),
                f"capability-{number % 12}",
                str(number),
            )
            for number in range(prompts)
        ]

    return _run("large", list(_stages(folder, CHECKPOINTS, map(answers, range(4)))))


def _answer(id: str, right: bool, text: str, capability: str, reference: str) -> Answer:
    return Answer(
        suite="held_out",
        id=id,
        capability=capability,
        correct=right,
        fault=None,
        answer=text,
        reference=reference,
        text=text,
        tokens=len(text) // 4,
        finish="stop",
    )


def _stages(folder: Path, names: Sequence[str], answers: Any) -> Iterator[StageSource]:
    record = {"seconds": 1.0, "machine": names[0], "versions": {names[0]: "1"}, "metrics": {}}
    for number, (name, own) in enumerate(zip(names, answers, strict=True)):
        trained, evaluated = folder / f"stage-{number}", folder / f"evaluation-{number}"
        for place in (trained, evaluated):
            place.mkdir(parents=True)
        write_json(RESULTS.path(evaluated), {"suites": {"held_out": summaries(own)}})
        write_json_lines(ANSWERS.path(evaluated), (answer.to_json() for answer in own))
        yield StageSource(name, name, "done", trained, record=record, note=name)
        yield StageSource(f"eval-{name}", name, "done", evaluated, record=record, evaluated=name)


def _run(name: str, stages: Sequence[StageSource]) -> RunSource:
    evaluations, before = [], None
    for stage in stages:
        if stage.evaluated is not None:
            evaluations.append(Evaluation(stage.evaluated, before, stage.evaluated, stage.folder))
            before = stage.evaluated
    return RunSource(name, stages, evaluations)
