"""The sections of a model card about the model: what it is, how it was trained, where it comes
from. Names from outside are code (`common/markdown.py`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.artifacts import CHECKPOINT
from common.markdown import code, table
from models.context import positions
from models.packaged import HUB_NAMES
from models.sizes import active, from_config, total
from pipeline.cli.card.facts import Facts, Made
from pipeline.store.adopted import origin_of
from pipeline.store.record import record_checksum

COUNTS = {
    "training": "training prompts",
    "held_out": "held-out prompts",
    "prompts": "prompts",
    "kept": "kept",
    "pairs": "pairs",
    "steps": "steps",
    "active": "prompts in the curriculum",
}
"""Metrics of a record that count what a stage worked on, and what they are called."""
USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(FOLDER)
model = AutoModelForCausalLM.from_pretrained(FOLDER)
AS_TENSORS = {"return_dict": True, "return_tensors": "pt"}
chat = [{"role": "user", "content": "Hello"}]
prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, **AS_TENSORS)
answer = model.generate(**prompt, max_new_tokens=64)
```

`FOLDER` is this folder. It needs no code of its own; vLLM serves it too."""


def about(facts: Facts) -> str:
    """The base model, the architecture and its size."""
    lines = [_base_model(facts), *_architecture(facts.config)]
    if (length := positions(facts.config)) is not None:
        lines.append(f"Longest sequence by its configuration: {length:,} tokens.")
    return "\n".join(f"- {line}" for line in lines)


def _base_model(facts: Facts) -> str:
    model = facts.model
    if (dense := model.get("upcycle")) is not None:
        known = HUB_NAMES.get(dense)
        name = f"{code(known)} (4-bit GGUF, dequantised)" if known else code(Path(dense).name)
        how = f"one MLP in {model['moe_every']} became a layer of experts, by {code(model['init'])}"
        return f"Base model: {name}, a dense Llama; {how}."
    if (folder := model.get("checkpoint")) is not None:
        return f"Base model: the checkpoint folder {code(Path(folder).name)}."
    if (preset := model.get("preset")) is not None:
        return f"Base model: none. The preset {code(preset)} starts from random weights."
    return "Base model: that of the run from which the first stage below was adopted."


def _architecture(config: Mapping[str, Any]) -> list[str]:
    sizes = from_config(config)
    if sizes is None:
        return ["Architecture: its `config.json` gives no dimensions."]
    names = ", ".join(map(code, config.get("architectures") or ["unknown"]))
    experts = (
        f"{len(sizes.moe_layers)} of which have one shared and {sizes.experts} routed experts, of"
        f" which a token uses {sizes.experts_per_token}"
        if sizes.experts
        else "without experts"
    )
    return [
        f"Architecture: {names}, {sizes.layers} layers of width {sizes.width}, {experts}.",
        f"Parameters: {total(sizes):,}, of which a token uses {active(sizes):,}.",
    ]


def training(facts: Facts) -> str:
    """A table of the stages, and their sums."""
    rows = [["stage", "kind", "from", "worked on", "generated", "trained on", "seconds"]]
    rows += [_stage(one) for one in facts.made]
    sums = {
        name: sum(one.record.get(name) or 0 for one in facts.made)
        for name in ("tokens_generated", "tokens_trained", "seconds")
    }
    settings = [line for one in facts.made if (line := _settings(one))]
    return "\n\n".join(
        [
            table(rows),
            f"Together {sums['tokens_generated']:,} tokens were generated and"
            f" {sums['tokens_trained']:,} trained on, in {sums['seconds']:,.1f} seconds without"
            " evaluations.",
            *(["Numbers that the recipe set, beside the defaults of uphill:"] if settings else []),
            "\n".join(settings),
        ]
    ).strip()


def _stage(one: Made) -> list[str]:
    record, metrics = one.record, one.record.get("metrics", {})
    counts = [f"{metrics[key]:,} {name}" for key, name in COUNTS.items() if _counts(metrics, key)]
    origin = origin_of(record) if "produces" in record else None
    return [
        code(one.node.id),
        f"{code(one.node.kind)}{', adopted from another run' if origin else ''}",
        ", ".join(code(stage) for stage in dict.fromkeys(one.node.inputs.values())),
        ", ".join(counts),
        *(f"{record.get(key) or 0:,}" for key in ("tokens_generated", "tokens_trained")),
        f"{record.get('seconds') or 0:,.1f}",
    ]


def _counts(metrics: Mapping[str, Any], key: str) -> bool:
    return isinstance(metrics.get(key), int)


def _settings(one: Made) -> str:
    """The numbers among the settings that differ from the defaults, of a stage that trains."""
    if not one.record.get("tokens_trained"):
        return ""
    given = one.node.identity["config"]
    numbers = [
        f"{code(name)} {value:g}"
        for name, value in given.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    method = code(str(one.node.config.get("train", "")))
    return f"- {code(one.node.id)}: trains {method}; {', '.join(numbers)}"


def provenance(facts: Facts) -> str:
    """What identifies the checkpoint and the code that made it."""
    stage, record = facts.checkpoint.node, facts.made[-1].record
    versions = ", ".join(
        f"{code(name)} {code(version)}" for name, version in record.get("versions", {}).items()
    )
    weights = [
        f"- SHA-256 of {code(Path(name).name)}: {code(known['sha256'])}"
        for name, known in record["files"].items()
        if CHECKPOINT.holds_weights(name)
    ]
    return "\n".join(
        [
            f"- Run {code(facts.checkpoint.plan.name)}, stage {code(stage.id)}, finished"
            f" {code(str(record.get('finished')))}",
            f"- Fingerprint of the stage: {code(stage.fingerprint)}",
            f"- SHA-256 of its record: {code(record_checksum(facts.checkpoint.state.folder))}",
            f"- Commit of uphill: {code(record.get('commit') or 'unknown')}",
            f"- Versions: {versions or 'unknown'}",
            f"- Machine: {code(record.get('machine') or 'unknown')}",
            *weights,
        ]
    )
