"""`kind: adopt`: what a stage of another run made becomes one of this run, proven, or is refused
with the reason."""

import json

import pytest

from builders.toy_runs import found_in
from common.errors import BadInput, RunFailed
from common.files import files_below, read_sealed, write_json, write_sealed
from common.stage import StageContext
from pipeline.cli.commands import run_command
from pipeline.cli.status import status_of
from pipeline.execution.verify import verify_run, verify_table
from pipeline.planning.disk import predicted_disk
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe
from pipeline.recipe.user_files import content_checksum
from pipeline.store.adopted import require_origin
from pipeline.store.record import PRUNED, write_record
from prompts.schema import Prompt, read_prompts, write_prompts
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
CONFIG = {"model_type": "llama4_text", "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2}


def prompt(text):
    return Prompt(
        text, [{"role": "user", "content": text}], "a", "exact", "words", "jsonl", None, {}
    )


LEFT = {
    "judge_filter": ["prompts", "ledger"],
    "sft": ["checkpoint", "metrics"],
    "evaluate": ["results"],
}


def finished(folder, kind="judge_filter", texts=("one", "two"), files=()):
    """A finished stage of another run, with prompts."""
    folder.mkdir(parents=True)
    (folder / "stage.log").write_text("its log\n")
    if texts:
        write_prompts(folder / "prompts.parquet", [prompt(text) for text in texts])
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
def recipe(tmp_path):
    rows = [
        json.dumps({"prompt": f"say {n}", "answer": "a", "verifier": "exact"}) for n in range(8)
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(rows) + "\n")
    path = tmp_path / "second.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def uphill(tmp_path, recipe, monkeypatch):
    """Runs one stage of the recipe; returns the exit code."""

    def run_one(stage, *options):
        words = [
            "uphill",
            "run",
            str(recipe),
            "--runs-dir",
            str(tmp_path / "runs"),
            "--stage",
            stage,
            *options,
        ]
        monkeypatch.setattr("sys.argv", words)
        return run_command()

    return run_one


def adopt(source, target, held_out=()):
    (target / "of_run").mkdir(parents=True)
    write_prompts(target / "of_run" / "held_out.parquet", [prompt(text) for text in held_out])
    context = StageContext(target / "mine", 0, lambda *_, **__: None, lambda: False, 1)
    context.folder.mkdir()
    run(
        AdoptStage(id="x", kind="adopt", folder=str(source)),
        {"prompts": target / "of_run"},
        context,
    )
    return context.folder


def refusal(recipe, *settings):
    with pytest.raises(BadInput) as caught:
        load_recipe(recipe, list(settings))
    return str(caught.value)


def test_what_is_adopted_is_the_same_and_is_proven_with_its_origin(tmp_path, uphill):
    source = finished(tmp_path / "first" / "03-filter", files=[("ledger.sqlite", "beliefs")])
    assert [uphill(stage) for stage in ("prompts", "easy_gone")] == [0, 0]
    adopted = tmp_path / "runs" / "second" / "03-easy_gone"
    for name in ("prompts.parquet", "ledger.sqlite"):
        assert (adopted / name).read_bytes() == (source / name).read_bytes()
    assert (adopted / "adopted.json").read_bytes() == (source / "record.json").read_bytes()
    record = read_sealed(adopted / "record.json")
    assert (record["kind"], record["metrics"]) == ("adopt", {"kept": 2})
    found = verify_run(tmp_path / "runs" / "second")
    assert found["problems"] == []
    assert any("adopted (" in cell for cell in verify_table(found)[2])
    (adopted / "adopted.json").rename(tmp_path / "aside")
    assert f"{adopted / 'adopted.json'}: is missing" in found_in(tmp_path / "runs" / "second")
    (tmp_path / "aside").rename(adopted / "adopted.json")
    assert (
        status_of(tmp_path / "runs" / "second")["stages"][2]["note"] == "adopted from another run"
    )


def test_a_source_that_was_made_again_makes_the_adopted_stage_stale(tmp_path, uphill, capsys):
    source = finished(tmp_path / "first" / "03-filter")
    assert [uphill(stage) for stage in ("prompts", "easy_gone")] == [0, 0]
    source.rename(tmp_path / "earlier")
    finished(source, texts=("one", "three"))
    assert uphill("easy_gone") == 2
    assert "folder was 'content" in capsys.readouterr().err


def test_what_is_adopted_twice_keeps_both_records_proven(tmp_path):
    first = finished(tmp_path / "first")
    second = finished(
        tmp_path / "second", files=[("adopted.json", (first / "record.json").read_text())]
    )
    adopted = adopt(second, tmp_path)
    assert (adopted / "adopted.json").read_bytes() == (second / "record.json").read_bytes()
    assert (adopted / "from-adopted.json").read_bytes() == (first / "record.json").read_bytes()
    (second / "adopted.json").write_text("changed")
    with pytest.raises(BadInput, match=r"second/adopted\.json: is not as"):
        adopt(second, tmp_path / "again")


def test_a_source_made_again_while_the_run_goes_is_not_taken_for_the_one_of_the_plan(
    tmp_path, recipe
):
    source = finished(tmp_path / "first" / "03-filter")
    identity = build_plan(load_recipe(recipe))["easy_gone"].identity
    source.rename(tmp_path / "earlier")
    adopted = adopt(finished(source, texts=("one", "three")), tmp_path)
    with pytest.raises(RunFailed, match=r"adopted\.json: is not the record"):
        require_origin(adopted, identity)
    require_origin(adopt(tmp_path / "earlier", tmp_path / "again"), identity)


def test_a_source_that_lost_files_is_refused_before_anything_is_moved_aside_for_it(
    tmp_path, uphill, capsys
):
    source = finished(tmp_path / "first" / "03-filter", files=[("big", "data")])
    assert [uphill(stage) for stage in ("prompts", "easy_gone")] == [0, 0]
    (source / "big").unlink()
    capsys.readouterr()
    assert uphill("easy_gone", "--redo", "easy_gone") == 2
    assert (
        f"{source / 'big'}: is missing, and stage 'easy_gone' would adopt it"
        in capsys.readouterr().err
    )
    assert (tmp_path / "runs" / "second" / "03-easy_gone" / "big").read_text() == "data"


def test_what_another_run_logged_is_no_cost_of_this_one(tmp_path, uphill):
    rows = json.dumps({"step": 1, "tokens_generated_total": 900_000}) + "\n"
    finished(tmp_path / "first" / "03-filter", files=[("metrics.jsonl", rows)])
    assert [
        uphill(stage, "--set", "budget.tokens=10") for stage in ("prompts", "easy_gone", "base")
    ] == [0, 0, 0]


RECORD = {"format": 2, "kind": "sft", "produces": ["checkpoint"], "metrics": {}, "files": {}}
WRONG = [
    {"format": "1"},
    {"format": None},
    {"format": 3},
    {"kind": 3},
    {"produces": 3},
    {"produces": [3]},
    {"metrics": None},
    {"kind": ["sft"]},
    {"files": []},
    {"files": {"a": 3}},
    {"files": {"a": {"size": "1", "sha256": "0"}}},
]


@pytest.mark.parametrize("change", WRONG, ids=repr)
def test_a_record_of_another_shape_is_refused_in_words(tmp_path, recipe, change):
    folder = tmp_path / "first" / "03-filter"
    folder.mkdir(parents=True)
    write_sealed(folder / "record.json", RECORD | change)
    assert str(folder / "record.json") in refusal(recipe)
    for name in change:
        write_sealed(
            folder / "record.json", {key: value for key, value in RECORD.items() if key != name}
        )
        assert str(folder / "record.json") in refusal(recipe)


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, "{}", "3", "", "\x00"],
    ids=["deep", "empty", "number", "nothing", "zero"],
)
def test_a_record_that_is_none_is_refused_in_words(tmp_path, recipe, text):
    folder = tmp_path / "first" / "03-filter"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(text)
    assert str(folder / "record.json") in refusal(recipe)


@pytest.mark.parametrize("name", ["prompts.parquet", "ledger.sqlite"])
def test_a_changed_or_missing_file_is_named_before_anything_uses_it(tmp_path, name):
    source = finished(tmp_path / "first", files=[("ledger.sqlite", "beliefs")])
    data = (source / name).read_bytes()
    (source / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BadInput, match=f"{source / name}: is not as"):
        adopt(source, tmp_path)
    (source / name).unlink()
    with pytest.raises(BadInput, match=f"{source / name}: is missing"):
        adopt(source, tmp_path / "again")


def test_prompts_that_this_run_holds_out_are_refused(tmp_path):
    source = finished(tmp_path / "first", texts=("one", "Two words."))
    with pytest.raises(BadInput, match="1 of its 2 training prompts are held out in this run"):
        adopt(source, tmp_path, held_out=["two words"])


NAMES = [
    "../outside.txt",
    "a/../../outside.txt",
    "{root}/outside.txt",
    "",
    ".",
    "stage.log/x",
    "x\0y",
    "a/attempt.json/..",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_record_cannot_name_files_outside_its_folder_or_none(tmp_path, name):
    source = finished(tmp_path / "first", files=[("x", "data")])
    (tmp_path / "outside.txt").write_text("data")
    record = read_sealed(source / "record.json")
    (source / "record.json").unlink()
    files = {name.format(root=tmp_path): record["files"]["x"]}
    write_sealed(source / "record.json", {**record, "files": files})
    with pytest.raises(BadInput, match="no file of a stage"):
        adopt(source, tmp_path)
    assert [path.name for path in files_below(tmp_path / "mine")] == ["adopted.json"]


def test_a_record_cannot_replace_files_of_the_attempt(tmp_path):
    source = finished(tmp_path / "first", files=[("x", "data")])
    record = read_sealed(source / "record.json")
    (source / "attempt.json").write_text("data")
    write_sealed(
        source / "record.json",
        {**record, "files": {**record["files"], "attempt.json": record["files"]["x"]}},
    )
    assert not (adopt(source, tmp_path) / "attempt.json").exists()


def test_what_is_no_finished_stage_is_said_once(tmp_path, recipe):
    said = refusal(recipe)
    assert (
        "first/03-filter is not a finished stage" in said
        and "easy_gone" not in said.split("remedy")[0]
    )
    finished(tmp_path / "first" / "03-filter", kind="evaluate")
    assert "is of kind 'evaluate', which produces nothing for other stages" in refusal(recipe)


def test_a_field_takes_an_adopted_stage_for_what_it_was(tmp_path, recipe):
    finished(tmp_path / "first" / "03-filter", kind="sft", texts=())
    assert "'easy_gone' produces no prompts" in refusal(recipe)


def test_weights_of_another_model_are_refused(tmp_path, recipe):
    finished(
        tmp_path / "first" / "03-filter", files=[("checkpoint/config.json", json.dumps(CONFIG))]
    )
    assert "holds another model than `model`: its vocabulary, width" in refusal(recipe)


def test_the_plan_knows_kind_fingerprint_and_disk(tmp_path, recipe):
    source = finished(tmp_path / "first" / "03-filter", files=[("big", "x" * 2**24)])
    loaded = load_recipe(recipe)
    node = build_plan(loaded)["easy_gone"]
    assert (node.kind, node.produces) == ("adopt", ("origin", "prompts", "ledger"))
    assert predicted_disk(loaded)["easy_gone"]["kept_gib"] == 0.016
    source.rename(tmp_path / "moved")
    text = recipe.read_text().replace("first/03-filter", "moved")
    recipe.write_text(text)
    assert build_plan(load_recipe(recipe))["easy_gone"].fingerprint == node.fingerprint


def test_a_record_stands_for_the_files_of_adopted_folders_alone(tmp_path):
    (tmp_path / "record.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("weights")
    before = content_checksum(tmp_path)
    (tmp_path / "model.safetensors").write_text("others")
    assert content_checksum(tmp_path) != before


def test_pruned_weights_are_missed_with_the_reason(tmp_path):
    source = finished(tmp_path / "first", files=[("checkpoint/model.safetensors", "w")])
    (source / "checkpoint" / "model.safetensors").unlink()
    write_json(source / PRUNED, {"files": ["checkpoint/model.safetensors"]})
    with pytest.raises(BadInput, match=r"runtime\.keep may have removed"):
        adopt(source, tmp_path)
    assert read_prompts(source / "prompts.parquet")
