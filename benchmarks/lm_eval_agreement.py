"""Do our suites score a model as lm-evaluation-harness does?

SmolLM2-135M-Instruct answers the same questions in three ways: by our suite, by lm-eval's own task
through our engine, and, for two tasks, by lm-eval's own task and its own `hf` model, which is stock
transformers. lm-eval's task files are included as they are; only their data is a local file that is
written from our suites' prompts. `python -m benchmarks.lm_eval_agreement`, after `make
setup-lm-eval`."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from benchmarks.harness import Results, markdown
from benchmarks.lm_eval_tasks import TASKS, Task, write_tasks
from common.intervals import wilson
from evals.answer import Answer
from evals.config import SuiteConfig
from evals.harness.lm_eval_run import load_tasks, require_lm_eval, run_tasks
from evals.harness.requests import Requests
from evals.protocol import ask
from evals.suites import load_suite
from models.packaged import resolve_dense
from prompts.schema import Prompt
from rewards.grader import Grader
from rollouts.config import RolloutConfig

MODEL = "smollm2-135m-instruct"
LENGTH, BATCH = 1024, 64
"""Longest sequence in tokens, and prompts per call of the engine."""
COMMAND = "python -m benchmarks.lm_eval_agreement"


class Scored(NamedTuple):
    """The answers of one way: right or wrong, and what was chosen, by question."""

    right: list[bool]
    chosen: list[str]


def ours(engine: Any, suite: SuiteConfig, prompts: Sequence[Prompt]) -> Scored:
    """Our suite's answers."""
    answers: list[Answer] = ask(engine, suite, prompts, BATCH, lambda count: None, Grader())
    return Scored([one.correct for one in answers], [str(one.answer) for one in answers])


def theirs(results: Mapping[str, Any], task: Task) -> Scored:
    """lm-eval's answers to a task, by its metric."""
    samples = [one for one in results["samples"][task.name] if one["filter"] == task.filter]
    samples.sort(key=lambda one: one["doc_id"])
    right = [bool(one[task.metric]) for one in samples]
    return Scored(right, [_chosen(one, task) for one in samples])


def _chosen(sample: Mapping[str, Any], task: Task) -> str:
    """The option that counts by the task's metric, or what was read from a text."""
    if task.options is None:
        return str(sample["filtered_resps"][0])
    options = task.options(sample["doc"])
    by = [len(text) if task.metric == "acc_norm" else 1 for text in options]
    values = [float(one[0][0]) / n for one, n in zip(sample["resps"], by, strict=True)]
    return options[values.index(max(values))]


def with_engine(checkpoint: Path, folder: Path, prompts: Mapping[str, list[Prompt]]) -> Any:
    """Our suites' and lm-eval's answers from one engine."""
    from evals.harness.lm_eval_model import EngineLM
    from models.checkpoint import load_tokenizer
    from rollouts.engine import Engine

    tokenizer: Any = load_tokenizer(checkpoint)
    with closing(Engine(checkpoint, RolloutConfig(max_model_len=LENGTH), 0)) as engine:
        own = {
            suite: ours(engine, SuiteConfig.model_validate(suite), asked)
            for suite, asked in prompts.items()
        }

        def decode(tokens: list[int]) -> str:
            return str(tokenizer.decode(tokens, skip_special_tokens=True))

        model = EngineLM(Requests(engine, decode, BATCH, lambda count: None), tokenizer)
        return own, {task.name: _run(model, task, folder) for task in TASKS}


def _run(model: Any, task: Task, folder: Path) -> Scored:
    begin = time.perf_counter()
    manager = load_tasks([task.name], str(folder))
    results = run_tasks(model, manager, [task.name], None, None, task.chat)
    print(f"{task.name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return theirs(results, task)


def with_transformers(checkpoint: Path, folder: Path) -> dict[str, Scored]:
    """lm-eval's answers from its own `hf` model, in float32."""
    from lm_eval.models.huggingface import HFLM

    model = HFLM(
        pretrained=str(checkpoint), device="cpu", dtype="float32", batch_size=8, max_length=LENGTH
    )
    return {task.name: _run(model, task, folder) for task in TASKS if task.hf}


def figures(name: str, one: Scored) -> dict[str, Any]:
    """A score with its interval."""
    low, high = wilson(sum(one.right), len(one.right))
    score = sum(one.right) / len(one.right)
    return {"by": name, "score": score, "low": low, "high": high, "n": len(one.right)}


def row(task: Task, own: Scored, engine: Scored, hf: Scored | None) -> dict[str, Any]:
    """The figures of a task."""
    known = {"lm-eval, our engine": engine, **({} if hf is None else {"lm-eval, hf": hf})}
    return {
        "task": task.name,
        "metric": task.metric,
        "suite": task.suite,
        "differs": task.differs,
        "ours": figures("our suite", own),
        "theirs": [figures(name, one) for name, one in known.items()],
        "same_choice": {
            name: _share(own.chosen, one.chosen) for name, one in known.items() if task.options
        },
        "same_verdict": {name: _share(own.right, one.right) for name, one in known.items()},
        "engines_same_choice": None if hf is None else _share(engine.chosen, hf.chosen),
    }


def _share(one: Sequence[object], other: Sequence[object]) -> float:
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def table(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The printed table, in per cent."""
    head = ["task, metric", "n", "our suite", "lm-eval, hf", "lm-eval, our engine"]
    lines = [[*head, "same answer as ours: hf, engine", "hf and engine", "protocol differs in"]]
    for one in rows:
        scores = {figure["by"]: _text(figure) for figure in one["theirs"]}
        same = one["same_choice"] or one["same_verdict"]
        shares = [_percent(same.get(name)) for name in ("lm-eval, hf", "lm-eval, our engine")]
        lines.append(
            [
                f"`{one['task']}`, {one['metric']}",
                str(one["ours"]["n"]),
                _text(one["ours"]),
                scores.get("lm-eval, hf", ""),
                scores["lm-eval, our engine"],
                ", ".join(shares),
                _percent(one["engines_same_choice"]),
                one["differs"],
            ]
        )
    return lines


def _text(figure: Mapping[str, Any]) -> str:
    return " ".join(
        [f"{100 * figure['score']:.1f}", f"[{100 * figure['low']:.1f}, {100 * figure['high']:.1f}]"]
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def main() -> None:
    require_lm_eval()
    begin, checkpoint = time.perf_counter(), resolve_dense(MODEL)
    limits = {task.suite: task.limit for task in TASKS}
    prompts = {
        suite: load_suite(SuiteConfig.model_validate({"name": suite, "limit": limit}), None)
        for suite, limit in limits.items()
    }
    with TemporaryDirectory() as place:
        write_tasks(Path(place), prompts)
        own, engine = with_engine(checkpoint, Path(place), prompts)
        report(begin, own, engine, {})
        report(begin, own, engine, with_transformers(checkpoint, Path(place)))


def report(
    begin: float, own: Mapping[str, Scored], engine: Mapping[str, Scored], hf: Mapping[str, Scored]
) -> None:
    """Print the table and write the result file; before `hf` has answered, without it."""
    rows = [row(one, own[one.suite], engine[one.name], hf.get(one.name)) for one in TASKS]
    print(markdown(table(rows)))
    seconds = time.perf_counter() - begin
    print(f"{seconds:.0f} s", flush=True)
    Results("lm_eval_agreement", COMMAND).write({"seconds": round(seconds), "rows": rows})


if __name__ == "__main__":
    main()
