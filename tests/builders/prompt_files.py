"""A user's prompt files, and the sources, recipes and stage runs that read them."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from builders.contexts import stage_context
from prompts.config import PromptSource
from stages.prompts.config import PromptsStage
from stages.prompts.run import run

GOOD = {"prompt": "q", "answer": "a"}


def own(path: Path, source: str = "jsonl", **fields: Any) -> Any:
    """The source of a user's file."""
    fields = {"capability": "c", "verifier": "exact", **fields}
    values = {"source": source, "path": str(path), **fields}
    return TypeAdapter[Any](PromptSource).validate_python(values)


def text(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def rows(start: int, count: int) -> list[dict[str, str]]:
    return [{"prompt": f"say {n}", "answer": str(n)} for n in range(start, start + count)]


def gather(
    folder: Path, *sources: Any, seed: int = 3, **config: Any
) -> tuple[dict[str, Any], list[str]]:
    """Run the `prompts` stage; its metrics and notes."""
    notes: list[str] = []
    context = stage_context(folder, seed, note=notes.append)
    return run(PromptsStage(sources=sources, **config), {}, context).metrics, notes


def write_recipe(folder: Path, path: str, kind: str = "jsonl", fields: str = "") -> None:
    source = (
        f"{{source: {kind}, path: {path}, capability: c, verifier: exact, held_out: 0{fields}}}"
    )
    (folder / "r.yaml").write_text(
        f"name: r\nmodel: {{preset: nano}}\nprompts: [{source}]\n"
        "stages: [{id: sft, kind: sft, on: prompts, learning_rate: 1e-4}]\n"
    )
