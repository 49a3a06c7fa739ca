"""lm-eval's own tasks on the questions of our suites: each file includes lm-eval's and replaces its
data by a local one."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from common.files import write_json_lines
from prompts.schema import Prompt

LIMIT, GENERATED = 120, 24
"""Questions of a suite; of one whose answers are written."""


class Task(NamedTuple):
    """A task of lm-eval beside our suite with the same questions."""

    name: str
    suite: str
    official: str
    """lm-eval's file, below its `tasks`."""
    metric: str
    differs: str
    """In what our suite asks or counts otherwise."""
    options: Callable[[Any], list[str]] | None = None
    """The options of a question, in the task's order; None: the answer is written."""
    limit: int = LIMIT
    filter: str = "none"
    hf: bool = False
    chat: bool = False
    own: Mapping[str, Any] = {}
    """What the task has otherwise than lm-eval's."""


def _sciq(doc: Any) -> list[str]:
    return [doc[name] for name in ("distractor1", "distractor2", "distractor3", "correct_answer")]


def _arc(doc: Any) -> list[str]:
    return list(doc["choices"]["text"])


def _boolq(doc: Any) -> list[str]:
    return ["no", "yes"]


ARC, SCIQ = "arc/arc_easy.yaml", "sciq/sciq.yaml"
BOOLQ, GSM8K = "super_glue/boolq/default.yaml", "gsm8k/gsm8k.yaml"
TASKS = (
    Task("our_arc_easy", "arc_easy_likelihood", ARC, "acc_norm", "nothing", _arc, hf=True),
    Task("our_boolq", "boolq_likelihood", BOOLQ, "acc", "nothing", _boolq, hf=True),
    Task("our_sciq", "sciq_likelihood", SCIQ, "acc_norm", "nothing", _sciq, hf=True),
    Task(
        "our_gsm8k",
        "gsm8k",
        GSM8K,
        "exact_match",
        "verifier `number` against the last number of the text",
        limit=GENERATED,
        filter="flexible-extract",
        chat=True,
        own={"num_fewshot": 0, "doc_to_text": "{{question}}"},
    ),
    Task(
        "our_gsm8k_strict",
        "gsm8k",
        GSM8K,
        "exact_match",
        "no chat template, a frame, and only `#### N` counts",
        limit=GENERATED,
        filter="strict-match",
        own={"num_fewshot": 0},
    ),
)


def write_tasks(folder: Path, prompts: Mapping[str, Sequence[Prompt]]) -> None:
    """Write the tasks and the questions of `prompts`, by suite."""
    spec = find_spec("lm_eval")
    assert spec is not None and spec.submodule_search_locations
    tasks = Path(spec.submodule_search_locations[0]) / "tasks"
    for task in TASKS:
        data = folder / f"{task.suite}.jsonl"
        write_json_lines(data, [ROWS[task.suite](prompt) for prompt in prompts[task.suite]])
        document = {
            "include": str(tasks / task.official),
            "task": task.name,
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {"test": str(data)}},
            "training_split": None,
            "validation_split": None,
            "fewshot_split": None,
            "test_split": "test",
            **task.own,
        }
        (folder / f"{task.name}.yaml").write_text(yaml.safe_dump(document))


def _question(prompt: Prompt) -> str:
    return prompt.messages[-1]["content"]


def _arc_row(prompt: Prompt) -> dict[str, Any]:
    options: dict[str, str] = prompt.metadata["options"]
    question = _question(prompt).removeprefix("Question: ").removesuffix("\nAnswer:")
    key = next(letter for letter, text in options.items() if text == prompt.answer)
    choices = {"text": list(options.values()), "label": list(options)}
    return {"question": question, "choices": choices, "answerKey": key}


def _sciq_row(prompt: Prompt) -> dict[str, Any]:
    others = [text for text in prompt.metadata["options"].values() if text != prompt.answer]
    named = {f"distractor{number}": text for number, text in enumerate(others, 1)}
    passage, _, rest = _question(prompt).rpartition("Question: ")
    return {
        "question": rest.removesuffix("\nAnswer:"),
        "support": passage.rstrip(),
        "correct_answer": prompt.answer,
        **named,
    }


def _boolq_row(prompt: Prompt) -> dict[str, Any]:
    passage, _, rest = _question(prompt).rpartition("\nQuestion: ")
    question = rest.removesuffix("?\nAnswer:")
    return {"passage": passage, "question": question, "label": int(prompt.answer == "yes")}


def _gsm8k_row(prompt: Prompt) -> dict[str, Any]:
    return {"question": _question(prompt), "answer": prompt.solution}


ROWS: Mapping[str, Callable[[Prompt], dict[str, Any]]] = {
    "arc_easy_likelihood": _arc_row,
    "sciq_likelihood": _sciq_row,
    "boolq_likelihood": _boolq_row,
    "gsm8k": _gsm8k_row,
}
"""A question of a suite as a row of lm-eval's data."""
