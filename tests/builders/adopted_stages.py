"""Finished stages of another run, and a run that adopts them."""

import pytest

from builders.contexts import stage_context
from builders.recipe_texts import write_rows
from builders.single_prompts import prompt_of
from pipeline.cli.commands import run_command
from pipeline.store.record import write_record
from prompts.schema import write_prompts
from stages.adopt.config import AdoptStage
from stages.adopt.run import run

RECIPE = """\
name: second
model: {preset: nano}
prompts:
  - {source: jsonl, path: mine.jsonl, held_out: 0.5, capability: words}
stages:
  - {id: easy_gone, kind: adopt, folder: first/03-filter}
  - {id: sft, kind: sft, on: easy_gone, learning_rate: 1e-4}
"""
LEFT = {
    "judge_filter": ["prompts", "ledger"],
    "sft": ["checkpoint", "metrics"],
    "evaluate": ["results"],
}


def prompts_of(texts):
    return [prompt_of(text, text, capability="words", source="jsonl") for text in texts]


def finished(folder, kind="judge_filter", texts=("one", "two"), files=()):
    """A finished stage of another run, with prompts."""
    folder.mkdir(parents=True)
    (folder / "stage.log").write_text("its log\n")
    if texts:
        write_prompts(folder / "prompts.parquet", prompts_of(texts))
    for name, data in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(data)
    record = {
        "identity": {"kind": kind, "config": {"id": folder.name}},
        "metrics": {"kept": len(texts)},
        "produces": LEFT[kind],
        "config": {},
    }
    write_record(
        folder, {"id": folder.name, "kind": kind, "fingerprint": "f", "inputs": {}, **record}
    )
    return folder


@pytest.fixture
def adopting(tmp_path):
    """The path of RECIPE, beside its prompts."""
    write_rows(tmp_path / "mine.jsonl", "01234567", verifier="exact")
    path = tmp_path / "second.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def run_one(tmp_path, adopting, monkeypatch):
    """Runs one stage of the recipe; returns the exit code."""

    def run_stage(stage, *options):
        words = ["run", str(adopting), "--runs-dir", str(tmp_path / "runs"), "--stage", stage]
        monkeypatch.setattr("sys.argv", ["uphill", *words, *options])
        return run_command()

    return run_stage


def adopt(source, target, held_out=()):
    """The folder of a stage in `target` that adopted `source`."""
    (target / "of_run").mkdir(parents=True)
    write_prompts(target / "of_run" / "held_out.parquet", prompts_of(held_out))
    context = stage_context(target / "mine")
    context.folder.mkdir()
    run(
        AdoptStage(id="x", kind="adopt", folder=str(source)),
        {"prompts": target / "of_run"},
        context,
    )
    return context.folder
