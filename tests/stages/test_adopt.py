"""`kind: adopt`: what a stage of another run made becomes one of this run, proven, or is refused
with the reason."""

import json

import pytest

from builders.adopted_stages import adopt, finished
from builders.recipe_texts import refusal
from builders.toy_runs import found_in
from common.errors import BadInput, RunFailed
from common.files import read_sealed, write_json
from pipeline.cli.status import status_of
from pipeline.execution.verify import verify_run, verify_table
from pipeline.planning.disk import predicted_disk
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe
from pipeline.recipe.user_files import content_checksum
from pipeline.store.adopted import require_origin
from pipeline.store.record import PRUNED
from prompts.schema import read_prompts

CONFIG = {"model_type": "llama4_text", "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2}


def test_what_is_adopted_is_the_same_and_is_proven_with_its_origin(tmp_path, run_one):
    source = finished(tmp_path / "first" / "03-filter", files=[("ledger.sqlite", "beliefs")])
    assert [run_one(stage) for stage in ("prompts", "easy_gone")] == [0, 0]
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


def test_a_source_that_was_made_again_makes_the_adopted_stage_stale(tmp_path, run_one, capsys):
    source = finished(tmp_path / "first" / "03-filter")
    assert [run_one(stage) for stage in ("prompts", "easy_gone")] == [0, 0]
    source.rename(tmp_path / "earlier")
    finished(source, texts=("one", "three"))
    assert run_one("easy_gone") == 2
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
    tmp_path, adopting
):
    source = finished(tmp_path / "first" / "03-filter")
    identity = build_plan(load_recipe(adopting))["easy_gone"].identity
    source.rename(tmp_path / "earlier")
    adopted = adopt(finished(source, texts=("one", "three")), tmp_path)
    with pytest.raises(RunFailed, match=r"adopted\.json: is not the record"):
        require_origin(adopted, identity)
    require_origin(adopt(tmp_path / "earlier", tmp_path / "again"), identity)


def test_a_source_that_lost_files_is_refused_before_anything_is_moved_aside_for_it(
    tmp_path, run_one, capsys
):
    source = finished(tmp_path / "first" / "03-filter", files=[("big", "data")])
    assert [run_one(stage) for stage in ("prompts", "easy_gone")] == [0, 0]
    (source / "big").unlink()
    capsys.readouterr()
    assert run_one("easy_gone", "--redo", "easy_gone") == 2
    assert (
        f"{source / 'big'}: is missing, and stage 'easy_gone' would adopt it"
        in capsys.readouterr().err
    )
    assert (tmp_path / "runs" / "second" / "03-easy_gone" / "big").read_text() == "data"


def test_what_another_run_logged_is_no_cost_of_this_one(tmp_path, run_one):
    rows = json.dumps({"step": 1, "tokens_generated_total": 900_000}) + "\n"
    finished(tmp_path / "first" / "03-filter", files=[("metrics.jsonl", rows)])
    assert [
        run_one(stage, "--set", "budget.tokens=10") for stage in ("prompts", "easy_gone", "base")
    ] == [0, 0, 0]


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


def test_what_is_no_finished_stage_is_said_once(tmp_path, adopting):
    said = refusal(adopting)
    assert (
        "first/03-filter is not a finished stage" in said
        and "easy_gone" not in said.split("remedy")[0]
    )
    finished(tmp_path / "first" / "03-filter", kind="evaluate")
    assert "is of kind 'evaluate', which produces nothing for other stages" in refusal(adopting)


def test_a_field_takes_an_adopted_stage_for_what_it_was(tmp_path, adopting):
    finished(tmp_path / "first" / "03-filter", kind="sft", texts=())
    assert "'easy_gone' produces no prompts" in refusal(adopting)


def test_weights_of_another_model_are_refused(tmp_path, adopting):
    finished(
        tmp_path / "first" / "03-filter", files=[("checkpoint/config.json", json.dumps(CONFIG))]
    )
    assert "holds another model than `model`: its vocabulary, width" in refusal(adopting)


def test_the_plan_knows_kind_fingerprint_and_disk(tmp_path, adopting):
    source = finished(tmp_path / "first" / "03-filter", files=[("big", "x" * 2**24)])
    loaded = load_recipe(adopting)
    node = build_plan(loaded)["easy_gone"]
    assert (node.kind, node.produces) == ("adopt", ("origin", "prompts", "ledger"))
    assert predicted_disk(loaded)["easy_gone"]["kept_gib"] == 0.016
    source.rename(tmp_path / "moved")
    text = adopting.read_text().replace("first/03-filter", "moved")
    adopting.write_text(text)
    assert build_plan(load_recipe(adopting))["easy_gone"].fingerprint == node.fingerprint


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
