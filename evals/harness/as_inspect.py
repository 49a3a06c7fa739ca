"""A suite of a finished evaluation as an eval log of inspect_ai, version 2 of its schema.

The parts of the suite are two scores, `final` and `dev`; a sample has the one of its part. An
answer that is not part of the score has none."""

from typing import Any

from common.fingerprint import fingerprint
from evals.harness.as_lm_eval import standard_error
from evals.harness.stored import Evaluated, Sample, StoredSuite

VERSION = 2
SCORER = "uphill"
STOPS = {"stop": "stop", "length": "max_tokens"}
"""Our word for how an answer ended to inspect's."""
ID = 22
"""Characters of an id."""


def log_name(evaluated: Evaluated, suite: StoredSuite) -> str:
    """The file's name, in the form by which inspect lists logs."""
    time = evaluated.created.replace(":", "-")
    return f"{time}_{suite.name.replace('_', '-')}_{_id(evaluated, suite)}.json"


def eval_log(evaluated: Evaluated, suite: StoredSuite) -> dict[str, Any]:
    """The log."""
    scored = [sample for sample in suite.samples if sample.scored]
    return {
        "version": VERSION,
        "status": "success",
        "eval": _spec(evaluated, suite),
        "plan": {
            "name": "plan",
            "steps": [{"solver": suite.protocol.get("ask", "answers"), "params": {}}],
            "config": {},
        },
        "results": {
            "total_samples": len(suite.samples),
            "completed_samples": len(scored),
            "scores": [_score(suite, part) for part in suite.parts],
        },
        "stats": {"started_at": "", "completed_at": evaluated.created, "model_usage": {}},
        "samples": [_sample(evaluated, sample) for sample in suite.samples],
    }


def _id(evaluated: Evaluated, suite: StoredSuite) -> str:
    return fingerprint([evaluated.identity, suite.name])[:ID]


def _spec(evaluated: Evaluated, suite: StoredSuite) -> dict[str, Any]:
    ids = list(dict.fromkeys(sample.row["id"] for sample in suite.samples))
    return {
        "eval_id": _id(evaluated, suite),
        "run_id": evaluated.identity[:ID],
        "task_id": _id(evaluated, suite),
        "created": evaluated.created,
        "task": suite.name,
        "task_version": suite.version,
        "task_attribs": {},
        "task_args": {},
        "dataset": {"name": suite.name, "samples": len(ids), "sample_ids": ids, "shuffled": False},
        "model": f"uphill/{evaluated.model}",
        "model_generate_config": _generation(suite),
        "config": {"epochs": suite.protocol.get("samples", 1)},
        "packages": dict(evaluated.versions),
        "metadata": {"about": suite.about, "protocol": dict(suite.protocol)},
    }


def _generation(suite: StoredSuite) -> dict[str, Any]:
    if suite.protocol.get("ask") == "likelihood":
        return {}
    return {
        "temperature": suite.protocol.get("temperature", 0.0),
        "max_tokens": suite.protocol.get("max_tokens"),
    }


def _score(suite: StoredSuite, part: str) -> dict[str, Any]:
    figure = suite.parts[part]
    own = [sample for sample in suite.samples if sample.row["part"] == part]
    scored = sum(sample.scored for sample in own)
    error = standard_error(figure["score"], figure["n"])
    values = {"accuracy": figure["score"], "stderr": error, "units": figure["n"]}
    return {
        "name": part,
        "scorer": SCORER,
        "scored_samples": scored,
        "unscored_samples": len(own) - scored,
        "params": {},
        "metrics": {
            name: {"name": name, "value": value}
            for name, value in values.items()
            if isinstance(value, int | float)
        },
        "metadata": {"low": figure["low"], "high": figure["high"]},
    }


def _sample(evaluated: Evaluated, sample: Sample) -> dict[str, Any]:
    row, text = sample.row, sample.row.get("text", "")
    message = {"role": "assistant", "content": text, "source": "generate"}
    choice = {"message": message, "stop_reason": STOPS.get(row.get("finish") or "", "unknown")}
    kept = ("capability", "part", "fault", "tokens", "reward", "parts", "finding")
    return {
        "id": row["id"],
        "epoch": row.get("sample", 0) + 1,
        "input": sample.messages,
        **({"choices": sample.choices} if sample.choices else {}),
        "target": row.get("reference", ""),
        "messages": [*sample.messages, message],
        "output": {"model": f"uphill/{evaluated.model}", "choices": [choice], "completion": text},
        "scores": {row["part"]: _value(row)} if sample.scored else {},
        "metadata": {name: row[name] for name in kept if row.get(name) is not None},
    }


def _value(row: Any) -> dict[str, Any]:
    return {"value": "C" if row["correct"] else "I", "answer": row.get("answer")}
