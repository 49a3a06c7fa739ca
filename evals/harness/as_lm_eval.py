"""A finished evaluation as lm-evaluation-harness writes its own: a results file, and a file of
samples for each suite. The parts of a suite are two filters: its metrics are `acc,final` and
`acc,dev`."""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from math import sqrt
from typing import Any

from evals.harness.stored import Evaluated, Sample, StoredSuite
from evals.suite_file import CORNER_CASES

ACC = "acc"


def metric_of(suite: StoredSuite) -> str:
    """Name of a suite's metric: `corner_cases` has a share of clean replies."""
    return "clean" if suite.name == CORNER_CASES else ACC


def results_document(evaluated: Evaluated, suites: Sequence[StoredSuite]) -> dict[str, Any]:
    """The results file."""
    return {
        "results": {suite.name: _figures(suite) for suite in suites},
        "group_subtasks": {suite.name: [] for suite in suites},
        "configs": {suite.name: _config(suite) for suite in suites},
        "versions": {suite.name: suite.version for suite in suites},
        "n-shot": {suite.name: 0 for suite in suites},
        "higher_is_better": {suite.name: {metric_of(suite): True} for suite in suites},
        "n-samples": {suite.name: _counts(suite) for suite in suites},
        "config": {"model": "uphill", "model_args": {"checkpoint": evaluated.model}},
        "model_source": "uphill",
        "model_name": evaluated.model,
        "date": evaluated.created,
    }


def _figures(suite: StoredSuite) -> dict[str, Any]:
    metric = metric_of(suite)
    found: dict[str, Any] = {"alias": suite.name}
    for part, figure in suite.parts.items():
        found[f"{metric},{part}"] = figure["score"]
        found[f"{metric}_stderr,{part}"] = standard_error(figure["score"], figure["n"])
    return found


def standard_error(score: float | None, n: int) -> float | str:
    """That of a share, as the harness writes it: of a sample, or `N/A`."""
    return "N/A" if score is None or n < 2 else sqrt(score * (1 - score) / (n - 1))


def _config(suite: StoredSuite) -> dict[str, Any]:
    likelihood = suite.protocol.get("ask") == "likelihood"
    return {
        "task": suite.name,
        "description": suite.about,
        "output_type": "multiple_choice" if likelihood else "generate_until",
        "num_fewshot": 0,
        "repeats": suite.protocol.get("samples", 1),
        "metadata": {"version": suite.version, "protocol": dict(suite.protocol)},
    }


def _counts(suite: StoredSuite) -> dict[str, int]:
    scored = sum(figure["n"] for figure in suite.parts.values())
    asked = len({sample.row["id"] for sample in suite.samples})
    return {"original": asked, "effective": scored}


def sample_lines(suite: StoredSuite) -> Iterator[dict[str, Any]]:
    """The lines of a suite's file of samples. One that is not part of the score has no metric."""
    numbers: dict[str, int] = {}
    for sample in suite.samples:
        number = numbers.setdefault(sample.row["id"], len(numbers))
        yield _line(suite, sample, number)


def _line(suite: StoredSuite, sample: Sample, number: int) -> dict[str, Any]:
    row, metric = sample.row, metric_of(suite)
    doc = {"id": row["id"], "capability": row["capability"], "messages": sample.messages}
    if sample.choices:
        doc["choices"] = sample.choices
    prompt = "\n\n".join(message["content"] for message in sample.messages)
    return {
        "doc_id": number,
        "doc": doc,
        "target": row.get("reference", ""),
        "arguments": {"gen_args_0": {"arg_0": prompt}},
        "resps": [[row.get("text", "")]],
        "filtered_resps": [row.get("answer")],
        "filter": row["part"],
        "metrics": [metric] if sample.scored else [],
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(prompt),
        "target_hash": _hash(row.get("reference", "")),
        **({metric: float(row["correct"])} if sample.scored else {}),
        **({"fault": row["fault"]} if row["fault"] else {}),
    }


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
