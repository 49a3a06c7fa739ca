"""DPO on a person's own pairs, alone and beside those of an RL stage: end to end on nano."""

import json

import pytest
from safetensors.torch import load_file

from builders.contexts import stage_context
from builders.learnable import pair_inputs, prompt_inputs
from builders.single_prompts import prompt_of
from common.errors import BadInput
from common.files import read_json_lines
from evals.config import SuiteConfig
from evals.suites import load_suite
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe
from prompts.schema import write_prompts
from stages.dpo.config import DpoStage
from stages.dpo.gather import gather
from stages.dpo.run import run

VALUES = {"id": "dpo", "kind": "dpo", "from": "rl", "train": "full", "learning_rate": 1e-3}
VALUES |= {"batch_size": 4, "beta": 0.5}


def write_pairs(folder, *rows):
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pair(n, chosen="x", rejected="z"):
    return {"prompt": f"spell {n}", "chosen": chosen * (1 + n), "rejected": rejected * (2 + n)}


def trained(folder, pairs, inputs, held_out=(), **settings):
    """What a stage on these pairs returns, its notes, and its folder."""
    (folder / "dpo").mkdir()
    (folder / "held").mkdir()
    write_prompts(folder / "held" / "held_out.parquet", list(held_out))
    config = DpoStage.model_validate(VALUES | {"pairs": pairs} | settings)
    notes: list[str] = []
    context = stage_context(folder / "dpo", seed=3, note=notes.append)
    return run(config, {**inputs, "held_out": folder / "held"}, context), notes, folder / "dpo"


@pytest.fixture
def policy(tmp_path):
    """Inputs without groups: the policy is its own reference."""
    inputs = prompt_inputs(tmp_path / "inputs", 1)
    return {"checkpoint": inputs["checkpoint"], "reference": inputs["checkpoint"]}


def test_pairs_of_a_file_raise_the_margin_and_the_likelihood_of_the_chosen(tmp_path, policy):
    path = write_pairs(tmp_path, *map(pair, range(16)))
    outputs, notes, folder = trained(tmp_path, {"path": path}, policy)
    rows = read_json_lines(folder / "metrics.jsonl")
    assert len(rows) == 4 and not notes
    assert abs(rows[0]["rewards/margins"]) < 1e-4 and rows[-1]["rewards/margins"] > 0
    assert {"logps/chosen", "logps/rejected", "rewards/accuracies"} <= rows[-1].keys()
    counts = {"rows": 16, "repeated": 0, "contaminated": 0, "not_drawn": 0, "trained": 16}
    assert outputs.metrics["by_origin"] == {"mine.jsonl": counts}
    kept = read_json_lines(folder / "pairs.jsonl")
    assert [row["place"] for row in kept] == [f"mine.jsonl:{n}" for n in range(1, 17)]
    before, after = (
        load_file(one / "checkpoint" / "model.safetensors")
        for one in (policy["checkpoint"], folder)
    )
    assert any(not before[name].equal(after[name]) for name in before)


def test_a_file_and_a_stage_give_their_shares(tmp_path):
    inputs = pair_inputs(tmp_path / "inputs", 6)
    path = write_pairs(tmp_path, *map(pair, range(20)))
    sources = [{"stage": "rl", "share": 0.25}, {"path": path, "share": 0.75}]
    outputs, notes, folder = trained(tmp_path, sources, inputs, max_pairs=16)
    origins = outputs.metrics["by_origin"]
    assert origins["rl"] == {"trained": 4}
    assert (origins["mine.jsonl"]["trained"], origins["mine.jsonl"]["not_drawn"]) == (12, 8)
    assert outputs.metrics["pairs"] == len(read_json_lines(folder / "pairs.jsonl")) == 16
    assert notes == [
        "mine.jsonl: a sample of 12 of 20 pairs is trained on; raise max_pairs for more"
    ]


def test_a_source_with_less_than_its_share_is_named(tmp_path):
    inputs = pair_inputs(tmp_path / "inputs", 2)
    path = write_pairs(tmp_path, *map(pair, range(8)))
    sources = [{"stage": "rl", "share": 0.5}, {"path": path, "share": 0.5}]
    outputs, notes, _ = trained(tmp_path, sources, inputs, max_pairs=16)
    assert outputs.metrics["pairs"] == 10
    assert notes == ["pairs: rl gives 2 of the 8 pairs of its share"]


def test_a_stage_named_by_its_id_writes_the_files_it_always_wrote(tmp_path):
    inputs = pair_inputs(tmp_path / "inputs", 5)
    outputs, _, folder = trained(tmp_path, "rl", inputs)
    assert "by_origin" not in outputs.metrics
    assert not (folder / "contaminated.jsonl").exists()
    assert read_json_lines(folder / "pairs.jsonl")[0].keys() == {
        *("prompt_id", "chosen", "rejected", "step", "system")
    }


def test_repeats_and_pairs_of_what_is_evaluated_are_left_out(tmp_path, policy):
    suite, question = "gsm8k", load_suite(SuiteConfig(name="gsm8k"), None)[0]
    asked = {"prompt": question.messages[0]["content"], "chosen": "a", "rejected": "b"}
    answers = {"prompt": "Tell me.", "chosen": str(question.solution), "rejected": "b"}
    path = write_pairs(tmp_path, pair(1), pair(1), asked, answers, pair(2), pair(3))
    held_out = [prompt_of("held", "Spell 2")]
    outputs, notes, folder = trained(tmp_path, {"path": path}, policy, held_out)
    counts = {"rows": 6, "repeated": 1, "contaminated": 3, "not_drawn": 0, "trained": 2}
    assert outputs.metrics["by_origin"] == {"mine.jsonl": counts}
    found = read_json_lines(folder / "contaminated.jsonl")
    assert [(one["place"], one["how"], one["suite"]) for one in found] == [
        ("mine.jsonl:3", "exact", suite),
        ("mine.jsonl:4", "ngram", suite),
        ("mine.jsonl:5", "exact", "held_out"),
    ]
    assert notes == [
        "mine.jsonl: 3 pairs overlap an evaluation suite and are left out: contaminated.jsonl"
    ]


def test_a_file_of_nothing_but_test_questions_is_refused(tmp_path, policy):
    path = write_pairs(tmp_path, pair(2))
    with pytest.raises(BadInput, match=r"all 1 pairs overlap evaluation suites: mine.jsonl:1"):
        trained(tmp_path, {"path": path}, policy, [prompt_of("held", "spell 2")])


def test_pairs_that_contradict_each_other_are_counted(tmp_path, policy):
    one = pair(4)
    path = write_pairs(
        tmp_path, one, {**one, "chosen": one["rejected"], "rejected": one["chosen"]}, pair(5)
    )
    _, notes, _ = trained(tmp_path, {"path": path}, policy)
    assert notes == ["mine.jsonl: 2 pairs contradict another one, which prefers the other answer"]


def test_a_pair_beyond_the_models_context_is_named(tmp_path, policy):
    path = write_pairs(tmp_path, pair(1), pair(600))
    with pytest.raises(BadInput, match=r"context of 512 tokens: mine.jsonl:2: \d+ tokens"):
        trained(tmp_path, {"path": path}, policy)


def test_bad_rows_are_left_out_and_kept_where_the_recipe_says_so(tmp_path, policy):
    path = write_pairs(tmp_path, pair(1), {"prompt": "q", "chosen": "a", "rejected": "a"}, pair(2))
    with pytest.raises(BadInput, match=r"mine.jsonl:2: chosen and rejected are the same answer"):
        trained(tmp_path, {"path": path}, policy)
    again = tmp_path / "again"
    again.mkdir()
    outputs, notes, folder = trained(again, {"path": path, "on_bad_row": "skip"}, policy)
    assert outputs.metrics["pairs"] == 2
    assert [row["place"] for row in read_json_lines(folder / "bad_rows.jsonl")] == ["mine.jsonl:2"]
    assert "bad rows are left out" in notes[0]


def test_shares_add_up_to_one():
    sources = [{"stage": "rl", "share": 0.5}, {"path": "p.jsonl", "share": 0.25}]
    with pytest.raises(ValueError, match=r"add up to 0\.75 and not to 1: 0\.5, 0\.25"):
        DpoStage.model_validate(VALUES | {"pairs": sources})


def test_inputs_are_the_stages_that_pairs_come_from_and_what_is_held_out():
    def inputs(pairs):
        return DpoStage.model_validate(VALUES | {"pairs": pairs}).input_ids()

    assert inputs("rl") == {"checkpoint": "rl", "reference": "rl", "pairs": "rl"}
    assert inputs({"stage": "rl"}) == inputs("rl")
    assert inputs({"path": "p.jsonl"}) == {
        **{"checkpoint": "rl", "reference": "rl"},
        "held_out": "prompts",
    }
    both = [{"path": "p.jsonl", "share": 0.5}, {"stage": "other", "share": 0.5}]
    assert inputs(both)["pairs 1"] == "other"


def test_files_of_one_name_are_counted_apart_and_repeat_nothing(tmp_path, policy):
    paths = []
    for name, numbers in (("one", (0, 1, 1)), ("two", (1, 2))):
        (tmp_path / name).mkdir()
        paths.append(write_pairs(tmp_path / name, *map(pair, numbers)))
    (tmp_path / "held").mkdir()
    write_prompts(tmp_path / "held" / "held_out.parquet", [])
    sources = [{"path": path, "share": 0.5} for path in paths]
    config = DpoStage.model_validate(VALUES | {"pairs": sources})
    result = gather(config, {**policy, "held_out": tmp_path / "held"}, stage_context(tmp_path))
    counts = {name: (one["repeated"], one["trained"]) for name, one in result.origins.items()}
    assert counts == {"mine.jsonl (0)": (1, 2), "mine.jsonl (1)": (1, 1)}
    assert result.named == ["mine.jsonl:1", "mine.jsonl:2", "mine.jsonl:2"]
    assert "pairs: mine.jsonl (1) gives 1 of the 128 pairs of its share" in result.notes


def test_files_of_pairs_count_by_their_content(recipe, tmp_path):
    path = recipe(
        ("pairs: rl", "pairs: [{path: mine-*.jsonl, share: 0.5}, {stage: rl, share: 0.5}]")
    )

    def fingerprint(name, word):
        (tmp_path / name).write_text(json.dumps({"prompt": "q", "chosen": word, "rejected": "z"}))
        return build_plan(load_recipe(path))["dpo"].fingerprint

    first = fingerprint("mine-1.jsonl", "a")
    assert fingerprint("mine-1.jsonl", "b") != first == fingerprint("mine-1.jsonl", "a")
    assert fingerprint("other.jsonl", "b") == first != fingerprint("mine-2.jsonl", "b")
