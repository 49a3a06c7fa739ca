"""The sections of a model card about what was measured, and what that does not show."""

from collections.abc import Mapping, Sequence
from typing import Any

from common.markdown import code, table
from evals.suite_file import CORNER_CASES
from pipeline.cli.card.facts import Facts
from pipeline.cli.compare import compare_table, score_text, smallest_differences

NOT_EVALUATED = (
    "**This checkpoint was not evaluated.** Nothing is known about how good its answers are."
)
PLAIN_LIMITS = (
    "The scores are of the suites above and of nothing else. A score on prompts of the kind that it"
    " was trained on says little about others.",
    "Knowledge, safety, bias and robustness were not examined, unless a suite above says so.",
    "What limits the base model limits this one too.",
)
"""What holds for every checkpoint."""


def scores(facts: Facts) -> str:
    """This checkpoint's scores with intervals and differences, and all checkpoints side by side."""
    rows = [row for row in facts.own if "rate" not in row]
    if not facts.own:
        return NOT_EVALUATED
    parts = [_own_table(rows)] if rows else ["No suite with a score was asked."]
    if len({row["stage"] for row in facts.rows}) > 1:
        wide = compare_table([dict(row) for row in facts.rows], several=False)
        body = [[code(row[0]), *row[1:]] for row in wide[1:]]
        head = [*wide[0][:2], *map(code, wide[0][2:])]
        parts += [
            "Each checkpoint on the way, `score [95 % interval] difference` to the one before it:",
            table([head, *body]),
        ]
    return "\n\n".join([*parts, *_remarks(facts.rows)])


def _remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the star means, and what the suites are too small to show."""
    smallest = smallest_differences(rows)
    if not smallest:
        return []
    sizes = ", ".join(f"{code(suite)} {100 * size:.1f}" for suite, size in smallest.items())
    return [
        "A star marks what is better or worse than the checkpoint before it. The smallest"
        f" difference that a suite of this size shows four times in five: {sizes} points."
    ]


def corner_cases(facts: Facts) -> str:
    """How often each corner case shows."""
    rows = [row for row in facts.own if "rate" in row]
    if not rows:
        return "Corner cases, such as endless repetition or refusals, were not examined."
    about = (
        "How often a reply to a prompt that provokes a fault shows it. **Lower is better.** The"
        f" whole ({code(CORNER_CASES)}) pools all of its questions."
    )
    return f"{about}\n\n{_own_table(rows)}"


def _own_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row per suite, in per cent; the header's last columns are about the difference."""
    header = ["suite", "n", "per cent [95 % interval]", "difference [95 % interval]", "p", ""]
    return table([header, *map(_own_row, rows)])


def _own_row(row: Mapping[str, Any]) -> list[str]:
    prefix = "rate_" if "rate" in row else ""
    delta, low, high = (row[f"{prefix}{key}"] for key in ("delta", "delta_low", "delta_high"))
    change = "" if delta is None else f"{_points(delta)} [{_points(low)}, {_points(high)}]"
    p = f"{row['p_adjusted']:.2g}" if "p_adjusted" in row else ""
    return [code(row["suite"]), str(row["n"]), score_text(row), change, p, row.get("verdict") or ""]


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def protocol(facts: Facts) -> str:
    """How the scores came about."""
    if not facts.own:
        return NOT_EVALUATED
    settings = facts.protocol
    lines = [
        f"- {settings.get('shots', 0)} examples in the prompt, temperature"
        f" {settings.get('temperature', 0):g}, one answer per prompt, in the model's own chat"
        " template (suites that compare likelihoods read the plain text, unless they say"
        " otherwise).",
        "- Scores are those of the final part of each suite, which no decision of the run has read."
        " Intervals are Wilson's, those of differences Newcombe's for paired shares, at 95 %.",
        "- p is the exact McNemar test on the same prompts after Holm's correction; better or worse"
        " stands where it is below 0.05.",
        f"- Answered by vLLM in {code(facts.rollouts['dtype'])}, at most"
        f" {facts.rollouts['max_model_len']:,} tokens of prompt and answer.",
        *(_suite(name, one) for name, one in settings.get("suites", {}).items()),
    ]
    return "\n".join(lines)


def _suite(name: str, settings: Mapping[str, Any]) -> str:
    limit = settings.get("limit")
    asked = "all prompts" if limit is None else f"{limit:,} prompts"
    tokens = settings.get("max_tokens")
    length = f", answers of at most {tokens:,} tokens" if tokens else ""
    version = f" (version {settings['version']})" if "version" in settings else ""
    return f"- {code(name)}{version}: {asked}{length}"


def limits(facts: Facts) -> str:
    """What the figures do not show."""
    lines = list(PLAIN_LIMITS)
    if facts.own:
        fewest = min(row["n"] for row in facts.own)
        lines.insert(
            1,
            f"The smallest group has {fewest:,} prompts. A difference that is marked neither better"
            " nor worse may be chance.",
        )
    return "\n".join(f"- {line}" for line in lines)


def licence(facts: Facts) -> str:
    """What is known of the licence."""
    if facts.licence is not None:
        return f"{code(facts.licence)}, as given by the person who exported it."
    return (
        "Nobody gave one: it is unknown. The licences of the base model and of the training data"
        " apply; read them before you use or publish this model."
    )
