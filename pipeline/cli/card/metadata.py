"""The metadata of a model card, as the Hugging Face hub reads it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from common.markdown import LONGEST_NAME
from common.visible import visible_line
from models.packaged import HUB_NAMES
from pipeline.cli.card.facts import Facts

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

UNKNOWN_LICENCE = "unknown"
"""The hub's word for a licence that nobody gave."""
TASK = "text-generation"


def metadata(facts: Facts) -> "ModelCardData":
    """The metadata with one result per suite that this checkpoint has a score on."""
    from huggingface_hub import ModelCardData

    base = HUB_NAMES.get(str(facts.model.get("upcycle")))
    return ModelCardData(
        license=facts.licence or UNKNOWN_LICENCE,
        base_model=base,
        base_model_relation="finetune" if base else None,
        library_name="transformers",
        pipeline_tag=TASK,
        tags=["uphill", "mixture-of-experts", "post-training"],
        model_name=facts.name,
        eval_results=list(_results(facts)) or None,
    )


def _results(facts: Facts) -> "Iterator[EvalResult]":
    from huggingface_hub import EvalResult

    for row in facts.own:
        kind = "rate" if "rate" in row else "score"
        if row[kind] is None:
            continue
        suite, _, part = visible_line(row["suite"], LONGEST_NAME).partition("/")
        yield EvalResult(
            task_type=TASK,
            dataset_type=suite,
            dataset_config=part or None,
            dataset_name=f"{suite}/{part}" if part else suite,
            dataset_split="final",
            metric_type="accuracy" if kind == "score" else kind,
            metric_name="rate of the case, lower is better" if kind == "rate" else "accuracy",
            metric_value=round(row[kind], 6),
            metric_args=_interval(row, "rate_" if kind == "rate" else ""),
        )


def _interval(row: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    low, high = row[f"{prefix}low"], row[f"{prefix}high"]
    return {"n": row["n"], "low": round(low, 6), "high": round(high, 6), "interval": "Wilson, 95 %"}
