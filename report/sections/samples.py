"""The sample viewer's data: a prompt at every evaluated checkpoint, with the verifier's mark.

The answers are read twice, a line at a time: once for which of them are right, which decides about
the prompts that are shown, and once for the texts of those. So a run of any size fits."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from common.artifacts import ANSWERS
from common.seeds import derive
from evals.suite_file import CORNER_CASES
from report.reading import rows
from report.sections.sample_prompts import prompt_texts
from report.source import RunSource, StageSource
from report.visible import all_visible, script_json

PROMPTS, LETTERS, BYTES = 2000, 4000, 10_000_000
"""Prompts, letters of a text and bytes of all of them that are shown at most."""
SEED = 20251128
"""Decides which prompts are shown, independently of the run."""
Key = tuple[str, str]
"""Suite and id of a prompt."""
Column = tuple[int, StageSource]
"""The number of a run, and one of its evaluations."""


def samples(runs: Sequence[RunSource]) -> dict[str, Any] | None:
    """`columns`, the checkpoints; `prompts`, each with an answer or None for every column; how many
    there are (`of`), and by suite. None without answers."""
    columns = [
        (number, stage)
        for number, run in enumerate(runs)
        for stage in run.stages
        if stage.evaluated and stage.state == "done" and stage.has(ANSWERS)
    ]
    marks = _marks(columns)
    if not marks:
        return None
    chosen = _chosen(marks)
    answers = _answers(columns, chosen)
    texts = prompt_texts(runs, chosen)
    shown = list(_within([_prompt(key, answers[key], texts.get(key)) for key in chosen]))
    several = len(runs) > 1
    return {
        "columns": [
            {
                "run": runs[number].name,
                "stage": stage.evaluated,
                "label": f"{runs[number].name}: {stage.evaluated}" if several else stage.evaluated,
            }
            for number, stage in columns
        ],
        "prompts": shown,
        "shown": len(shown),
        "of": len(marks),
        "letters": LETTERS,
        "case_suite": CORNER_CASES,
    }


def _marks(columns: Sequence[Column]) -> dict[Key, list[bool | None]]:
    """Whether each prompt's answer is right, by column; None where there is none that counts."""
    marks: dict[Key, list[bool | None]] = {}
    for place, (_, stage) in enumerate(columns):
        for row in _first_answers(stage):
            own = marks.setdefault((row["suite"], row["id"]), [None] * len(columns))
            own[place] = None if row.get("fault") else bool(row["correct"])
    return marks


def _first_answers(stage: StageSource) -> Iterator[dict[str, Any]]:
    """The answers of an evaluation; of several to a prompt the first."""
    return (row for row in rows(stage, ANSWERS) if not row.get("sample"))


def _chosen(marks: Mapping[Key, Sequence[bool | None]]) -> dict[Key, None]:
    """The prompts to show: of every suite as many, as long as it has some, and those first of which
    the answers changed."""
    by_suite: defaultdict[str, list[Key]] = defaultdict(list)
    for key in marks:
        by_suite[key[0]].append(key)

    def order(key: Key) -> tuple[bool, int, str]:
        return not _changed(marks[key]), derive(SEED, *key), key[1]

    ordered = [sorted(keys, key=order) for keys in by_suite.values()]
    in_turn = (key for key in chain(*zip_longest(*ordered)) if key is not None)
    return {key: None for key, _ in zip(in_turn, range(PROMPTS), strict=False)}


def _changed(marks: Sequence[bool | None]) -> bool:
    return len({mark for mark in marks if mark is not None}) > 1


def _answers(
    columns: Sequence[Column], chosen: Mapping[Key, None]
) -> dict[Key, list[dict[str, Any] | None]]:
    found: dict[Key, list[dict[str, Any] | None]] = {key: [None] * len(columns) for key in chosen}
    for place, (_, stage) in enumerate(columns):
        for row in _first_answers(stage):
            if own := found.get((row["suite"], row["id"])):
                own[place] = _answer(row)
    return found


def _answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the viewer shows of an answer. `letters`: of the whole text, where it was cut."""
    text, finding = row.get("text") or "", row.get("finding") or {}
    read = row.get("answer")
    optional = {
        "fault": row.get("fault"),
        "letters": len(text) if len(text) > LETTERS else None,
        "finding": finding.get("reason"),
        "finish": row.get("finish") if row.get("finish") != "stop" else None,
    }
    return {
        "correct": bool(row["correct"]),
        "read": read if read is None else str(read)[:LETTERS],
        "text": text[:LETTERS],
        "tokens": row.get("tokens"),
        "capability": row["capability"],
        "reference": str(row.get("reference") or "")[:LETTERS],
        "part": row.get("part"),
        **{name: value for name, value in optional.items() if value is not None},
    }


def _prompt(key: Key, answers: list[dict[str, Any] | None], text: str | None) -> dict[str, Any]:
    """A prompt with its answers. What all answers share stands once."""
    found = [answer for answer in answers if answer is not None]
    shared = {name: found[0][name] for name in ("capability", "reference", "part")}
    for answer in found:
        for name in shared:
            del answer[name]
    cut = {} if text is None or len(text) <= LETTERS else {"letters": len(text)}
    return {
        "suite": key[0],
        "id": key[1],
        **shared,
        "text": None if text is None else text[:LETTERS],
        **cut,
        "answers": answers,
    }


def _within(prompts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The first prompts that fit, counted as the page has them."""
    left = BYTES
    for prompt in prompts:
        left -= len(script_json(all_visible(prompt)).encode("utf-8", "replace"))
        if left < 0:
            return
        yield prompt
