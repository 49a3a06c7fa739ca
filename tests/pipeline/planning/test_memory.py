"""`uphill plan` on memory: figures that follow from the code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from builders.memory_recipes import RECIPE, SFT_ONLY, checkpoint, loaded, written
from models import sizes
from models.adapters import freeze_untrained
from models.config import LoraConfig
from models.memory import Memory
from models.nano import nano_model, nano_tokenizer
from models.presets import PRESETS
from pipeline.cli.overview import plan_view
from pipeline.planning.layout import GIB
from pipeline.planning.memory import GPUS, LEFT_FREE, memory_of, memory_view

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("train", ["lora", "full", "all_but_router", "experts"])
def test_a_trainer_is_counted_as_large_as_it_is(folder, train):
    model = freeze_untrained(nano_model(nano_tokenizer(), 1), train, LoraConfig())
    moving = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving)
    torch.stack([(p**2).sum() for p in moving]).sum().backward()
    optimizer.step()
    recipe = loaded(SFT_ONLY, [f"stages.sft.train={train}"])
    memory = memory_of(recipe, sizes.dimensions_of(recipe.model))["sft"]
    assert memory.weights == sum(p.nbytes for p in model.parameters())
    gradients = [p.grad.nbytes for p in moving if p.grad is not None]
    assert len(gradients) == len(moving) and memory.gradients == sum(gradients)
    moments = [
        state[name].nbytes
        for state in optimizer.state.values()
        for name in ("exp_avg", "exp_avg_sq")
    ]
    assert memory == Memory(
        weights=memory.weights, gradients=memory.gradients, optimizer=sum(moments)
    )


def test_every_stage_holds_what_it_needs(folder):
    recipe = loaded(
        RECIPE,
        ["stages.rl.rollouts.max_model_len=256", "stages.filter.judges.0.rollouts.dtype=bfloat16"],
    )
    nano, judge = sizes.dimensions_of(recipe.model), sizes.dense_dimensions("smollm2-135m-instruct")
    assert nano is not None and judge is not None
    memory, whole = memory_of(recipe, nano), sizes.total(nano)
    assert list(memory) == ["eval-base", "filter", "sft", "rl", "dpo", "eval-dpo"]
    cache = 2 * 4 * 2 * 32 * 4  # keys and values, layers, heads of them, their width, bytes
    assert (
        memory["eval-base"]
        == memory["eval-dpo"]
        == Memory(engine=4 * whole, kv_cache_at_most=128 * 512 * cache)
    )
    assert memory["filter"].engine == 2 * sizes.total(judge) and memory["filter"].weights == 0
    moving = sizes.adapters(nano, LoraConfig())
    trainer = {"weights": 4 * (whole + moving), "gradients": 4 * moving, "optimizer": 8 * moving}
    assert memory["rl"] == Memory(**trainer, engine=4 * whole, kv_cache_at_most=128 * 256 * cache)
    assert memory["dpo"] == Memory(**trainer, reference=4 * whole)


@pytest.mark.parametrize(("train", "copies"), [("lora", 0), ("full", 1), ("experts", 1)])
def test_a_kl_term_holds_the_policy_once_more_unless_adapters_train(folder, train, copies):
    recipe = loaded(RECIPE, [f"stages.rl.train={train}", "stages.rl.kl_weight=0.1"])
    nano = sizes.dimensions_of(recipe.model)
    assert nano is not None
    assert memory_of(recipe, nano)["rl"].reference == copies * 4 * sizes.total(nano)
    plain = loaded(RECIPE, [f"stages.rl.train={train}"])
    assert memory_of(plain, nano)["rl"].reference == 0


def test_a_judge_that_rewards_is_held_by_the_stages_that_grade(folder):
    judge = "{verifier: rubric, model: smollm2-135m-instruct, max_model_len: 1024"
    parts = f"rewards: [{{verifier: exact}}, {judge}}}, {judge}, name: again}}]"
    recipe = loaded(RECIPE.replace("verifier: exact", parts))
    nano, dense = sizes.dimensions_of(recipe.model), sizes.dense_dimensions("smollm2-135m-instruct")
    assert nano is not None and dense is not None
    held = {id: memory.judges for id, memory in memory_of(recipe, nano).items()}
    one = 4 * sizes.total(dense) + 128 * 1024 * sizes.cache_bytes(dense, 4)
    assert held == {
        **dict.fromkeys(["eval-base", "filter", "rl", "eval-dpo"], one),
        **dict.fromkeys(["sft", "dpo"], 0),
    }
    assert memory_of(loaded(RECIPE), nano)["rl"].judges == 0


def test_an_audits_policy_counts_where_it_is_larger_than_the_judge(folder):
    alone = memory_of(loaded(RECIPE), None)["filter"]
    recipe = loaded(RECIPE.replace("drop_easiest: 0.5", "drop_easiest: 0.5, audit: {}"))
    nano, scout = (sizes.from_config(PRESETS[name]) for name in ("nano", "scout"))
    assert scout is not None and memory_of(recipe, nano)["filter"] == alone
    assert memory_of(recipe, scout)["filter"].engine == 4 * sizes.total(scout) > alone.engine


def test_a_judge_at_an_endpoint_takes_no_memory_here(folder):
    text = RECIPE.replace(
        "model: smollm2-135m-instruct", "url: 'http://localhost', model_name: judge"
    )
    assert "filter" not in memory_view(loaded(text), "h100-80gb")["stages"]


@pytest.mark.parametrize("gpu", GPUS)
def test_as_many_gpus_as_hold_it_and_no_more(folder, gpu):
    recipe = loaded(RECIPE.replace("nano", "maverick").replace("train: full, ", ""))
    for figures in memory_view(recipe, gpu)["stages"].values():
        parts = [
            value
            for name, value in figures.items()
            if name.endswith("_gib") and name != "total_gib"
        ]
        assert figures["total_gib"] == pytest.approx(sum(parts), abs=0.01)
        usable = GPUS[gpu] * (1 - LEFT_FREE)
        assert (
            (figures["gpus"] - 1) * usable
            < figures["total_gib"]
            <= figures["gpus"] * usable + 0.001
        )


def test_scout_in_numbers(folder):
    view = plan_view(
        loaded(RECIPE.replace("nano", "scout").replace("train: full, ", "")),
        Path("runs"),
        "h200-141gb",
    )
    assert view["model"]["total_parameters"] == 107_769_861_120
    assert view["model"]["active_parameters"] == 17_172_894_720
    rl = next(stage["memory"] for stage in view["stages"] if stage["id"] == "rl")
    assert rl["engine_gib"] == round(107_769_861_120 * 4 / GIB, 3) == 401.474
    assert rl["kv_cache_at_most_gib"] == 24.0 and rl["reference_gib"] == 0 and rl["gpus"] == 8
    assert view["gpu"] == {"name": "h200-141gb", "memory_gib": 139, "left_free": 0.2}


def test_the_document_says_what_the_figures_rest_on(folder, uphill):
    view = json.loads(
        uphill(
            "plan", written(RECIPE.replace("nano", "behemoth")), "--json", "--gpu", "b200-180gb"
        )[1]
    )
    assert "assumption" in view["model"]["note"] and "evenly divided" in view["assumptions"][0]
    assert any(
        "20% of the 178 GiB of each b200-180gb" in sentence for sentence in view["assumptions"]
    )
    memory = {stage["id"]: stage["memory"] for stage in view["stages"]}
    assert memory["prompts"] is None and memory["base"] is None and memory["dpo"]["gpus"] > 100


def test_the_table_has_a_row_for_every_stage_with_memory(folder, uphill):
    out = uphill("plan", written(RECIPE))[1]
    header, *rows = out[out.index("\nGiB") + 1 :].partition("\n\n")[0].splitlines()
    assert header.endswith("h100-80gb GPUs")
    assert [row.split()[0] for row in rows] == [
        "eval-base",
        "filter",
        "sft",
        "rl",
        "dpo",
        "eval-dpo",
    ]


def test_an_unknown_gpu_names_the_known_ones(folder, uphill):
    code, _, err = uphill("plan", written(RECIPE), "--gpu", "h100")
    assert code == 2 and "--gpu h100" in err and all(name in err for name in GPUS)


def test_planning_a_large_model_is_light_and_fast(folder):
    Path("small.yaml").write_text(RECIPE.replace("nano", "maverick"))
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['uphill', 'plan',"
        " 'small.yaml', '--json']\nfrom pipeline.cli.main import main\ncode ="
        " main()\nsys.exit(code or bool({'torch', 'transformers', 'numpy'} &"
        " sys.modules.keys()))\n"
    )
    begin = os.times().children_user
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert os.times().children_user - begin < 1.5


def test_without_dimensions_there_is_a_plan_without_memory(folder, uphill):
    model = checkpoint(folder, hidden_size="wide")
    view = json.loads(uphill("plan", written(RECIPE.replace("{preset: nano}", model)), "--json")[1])
    memory = {stage["id"]: stage["memory"] for stage in view["stages"]}
    assert (
        view["model"] is None
        and memory.pop("filter") is not None
        and set(memory.values()) == {None}
    )
    code, out, _ = uphill("plan", written(SFT_ONLY.replace("{preset: nano}", model)))
    assert code == 0 and out.count("not known") == 2 and "\nGiB" not in out
