"""`uphill plan` on memory: figures that follow from the code, and recipes that the model cannot
run, refused early."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from common.errors import BadInput
from models import sizes
from models.adapters import freeze_untrained
from models.config import LoraConfig
from models.nano import nano_model, nano_tokenizer
from models.presets import PRESETS, preset_config
from pipeline.cli.commands import run_command
from pipeline.cli.overview import plan_view
from pipeline.planning.memory import GIB, GPUS, LEFT_FREE, Memory, memory_of, memory_view
from pipeline.recipe.load import load_recipe

ROOT = Path(__file__).parents[3]
RECIPE = """\
name: small
model: {preset: nano}
prompts:
  - {source: jsonl, path: mine.jsonl, capability: words, verifier: exact, held_out: 0.5}
stages:
  - {id: filter, kind: judge_filter, drop_easiest: 0.5, judges: [{kind: attempts, model: smollm2-135m-instruct}]}
  - {id: sft, kind: sft, on: prompts, train: full, learning_rate: 1e-4}
  - {id: rl, kind: rl, from: sft, on: filter, steps: 2, learning_rate: 1e-4}
  - {id: dpo, kind: dpo, from: rl, pairs: rl, learning_rate: 1e-4}
evaluate: {suites: [held_out], after: [base, dpo]}
"""  # noqa: E501
SFT_ONLY = (
    RECIPE.partition("  - {id: filter")[0]
    + "  - {id: sft, kind: sft, on: prompts, learning_rate: 1e-4}\n"
)
TINY = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "intermediate_size_mlp": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "num_local_experts": 4,
    "interleave_moe_layer_step": 2,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with prompts."""
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"prompt": f"say {word}", "answer": word}) for word in "abcd"]
    Path("mine.jsonl").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def uphill(folder, monkeypatch, capfd):
    """Runs a command line on a recipe's text; gives the exit code, stdout and stderr."""

    def run(command, text, *words):
        Path("small.yaml").write_text(text)
        monkeypatch.setattr(sys, "argv", ["uphill", command, "small.yaml", *words])
        code = run_command()
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return code, out, err

    return run


@pytest.fixture
def loaded(folder):
    """Gives the recipe of a text."""

    def load(text, settings=None):
        Path("small.yaml").write_text(text)
        return load_recipe(Path("small.yaml"), settings)

    return load


def checkpoint(folder, multimodal=False, **fields):
    """A folder that says it holds a Llama 4, with weights that nothing here reads; gives its
    name."""
    text = {**TINY, **fields}
    whole = (
        {"model_type": "llama4", "text_config": text}
        if multimodal
        else {**text, "model_type": "llama4_text"}
    )
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps(whole))
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    return "{checkpoint: model}"


@pytest.mark.parametrize("train", ["lora", "full", "all_but_router", "experts"])
def test_a_trainer_is_counted_as_large_as_it_is(loaded, train):
    model = freeze_untrained(nano_model(nano_tokenizer(), 1), train, LoraConfig())
    moving = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving)
    sum((p**2).sum() for p in moving).backward()
    optimizer.step()
    recipe = loaded(SFT_ONLY, [f"stages.sft.train={train}"])
    found = memory_of(recipe, sizes.dimensions_of(recipe.model))["sft"]
    assert found.weights == sum(p.nbytes for p in model.parameters())
    assert found.gradients == sum(p.grad.nbytes for p in moving)
    moments = [
        state[name].nbytes
        for state in optimizer.state.values()
        for name in ("exp_avg", "exp_avg_sq")
    ]
    assert found == Memory(weights=found.weights, gradients=found.gradients, optimizer=sum(moments))


def test_every_stage_holds_what_it_needs(loaded):
    recipe = loaded(
        RECIPE,
        ["stages.rl.rollouts.max_model_len=256", "stages.filter.judges.0.rollouts.dtype=bfloat16"],
    )
    nano, judge = sizes.dimensions_of(recipe.model), sizes.dense_dimensions("smollm2-135m-instruct")
    found, whole = memory_of(recipe, nano), sizes.total(nano)
    assert list(found) == ["eval-base", "filter", "sft", "rl", "dpo", "eval-dpo"]
    cache = 2 * 4 * 2 * 32 * 4  # keys and values, layers, heads of them, their width, bytes
    assert (
        found["eval-base"]
        == found["eval-dpo"]
        == Memory(engine=4 * whole, kv_cache_at_most=128 * 512 * cache)
    )
    assert found["filter"].engine == 2 * sizes.total(judge) and found["filter"].weights == 0
    moving = sizes.adapters(nano, LoraConfig())
    trainer = {"weights": 4 * (whole + moving), "gradients": 4 * moving, "optimizer": 8 * moving}
    assert found["rl"] == Memory(**trainer, engine=4 * whole, kv_cache_at_most=128 * 256 * cache)
    assert found["dpo"] == Memory(**trainer, reference=4 * whole)


@pytest.mark.parametrize(("train", "copies"), [("lora", 0), ("full", 1), ("experts", 1)])
def test_a_kl_term_holds_the_policy_once_more_unless_adapters_train(loaded, train, copies):
    recipe = loaded(RECIPE, [f"stages.rl.train={train}", "stages.rl.kl_weight=0.1"])
    nano = sizes.dimensions_of(recipe.model)
    assert memory_of(recipe, nano)["rl"].reference == copies * 4 * sizes.total(nano)
    plain = loaded(RECIPE, [f"stages.rl.train={train}"])
    assert memory_of(plain, nano)["rl"].reference == 0


def test_an_audits_policy_counts_where_it_is_larger_than_the_judge(loaded):
    alone = memory_of(loaded(RECIPE), None)["filter"]
    recipe = loaded(RECIPE.replace("drop_easiest: 0.5", "drop_easiest: 0.5, audit: {}"))
    policies = {name: sizes.from_config(PRESETS[name]) for name in ("nano", "scout")}
    found = {name: memory_of(recipe, policy)["filter"] for name, policy in policies.items()}
    assert (
        found["nano"] == alone
        and found["scout"].engine == 4 * sizes.total(policies["scout"]) > alone.engine
    )


def test_a_judge_at_an_endpoint_takes_no_memory_here(loaded):
    text = RECIPE.replace(
        "model: smollm2-135m-instruct", "url: 'http://localhost', model_name: judge"
    )
    assert "filter" not in memory_view(loaded(text), "h100-80gb")["stages"]


@pytest.mark.parametrize("gpu", GPUS)
def test_as_many_gpus_as_hold_it_and_no_more(loaded, gpu):
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


def test_scout_in_numbers(loaded):
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


@pytest.mark.parametrize("preset", ["scout", "maverick", "behemoth"])
def test_a_preset_without_weights_can_be_planned_and_checked_and_not_run(uphill, preset):
    text = RECIPE.replace("nano", preset)
    code, out, _ = uphill("plan", text)
    assert code == 0 and "assumptions:" in out and "active per token" in out
    assert ("not published" in out) == (preset == "behemoth")
    assert uphill("check", text)[0] == 0
    for words in ([], ["--until", "prompts"]):
        code, _, err = uphill("run", text, *words)
        assert code == 2 and f"small.yaml:2: model.preset: {preset!r} has no weights" in err
        assert ("{checkpoint: FOLDER}" in err) == (preset != "behemoth")
    assert not Path("runs").exists()


def test_the_document_says_what_the_figures_rest_on(uphill):
    view = json.loads(
        uphill("plan", RECIPE.replace("nano", "behemoth"), "--json", "--gpu", "b200-180gb")[1]
    )
    assert "assumption" in view["model"]["note"] and "one device" in view["assumptions"][0]
    assert any(
        "20% of the 178 GiB of each b200-180gb" in sentence for sentence in view["assumptions"]
    )
    memory = {stage["id"]: stage["memory"] for stage in view["stages"]}
    assert memory["prompts"] is None and memory["base"] is None and memory["dpo"]["gpus"] > 100


def test_the_table_has_a_row_for_every_stage_with_memory(uphill):
    out = uphill("plan", RECIPE)[1]
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


def test_an_unknown_gpu_names_the_known_ones(uphill):
    code, _, err = uphill("plan", RECIPE, "--gpu", "h100")
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


def test_without_dimensions_there_is_a_plan_without_memory(uphill, folder):
    model = checkpoint(folder, hidden_size="wide")
    view = json.loads(uphill("plan", RECIPE.replace("{preset: nano}", model), "--json")[1])
    memory = {stage["id"]: stage["memory"] for stage in view["stages"]}
    assert (
        view["model"] is None
        and memory.pop("filter") is not None
        and set(memory.values()) == {None}
    )
    code, out, _ = uphill("plan", SFT_ONLY.replace("{preset: nano}", model))
    assert code == 0 and out.count("not known") == 2 and "\nGiB" not in out


@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_two_experts_a_token_are_refused_where_the_engine_would_be_asked(uphill, command):
    model = "{upcycle: smollm2-135m-instruct, experts_per_token: 2}"
    code, _, err = uphill(command, RECIPE.replace("{preset: nano}", model))
    assert code == 2 and "small.yaml:2: model.experts_per_token: 2 experts per token" in err
    assert (
        "evaluate and rl would use it" in err
        and "experts_per_token: 1, or leave evaluate and rl out" in err
    )
    assert not Path("runs").exists()


def test_two_experts_a_token_may_be_fine_tuned_and_planned(uphill):
    model = "{upcycle: smollm2-135m-instruct, experts_per_token: 2}"
    code, out, _ = uphill("plan", SFT_ONLY.replace("{preset: nano}", model), "--json")
    one = json.loads(
        uphill("plan", SFT_ONLY.replace("{preset: nano}", model.replace("2}", "1}")), "--json")[1]
    )
    assert (
        code == 0
        and json.loads(out)["model"]["active_parameters"] > one["model"]["active_parameters"]
    )


@pytest.mark.parametrize("multimodal", [False, True])
def test_two_experts_a_token_of_a_checkpoint_are_refused_too(loaded, folder, multimodal):
    model = checkpoint(folder, multimodal, num_experts_per_tok=2)
    only_evaluated = SFT_ONLY + "evaluate: {suites: [held_out], after: [sft]}\n"
    with pytest.raises(
        BadInput, match=r"yaml:2: model.checkpoint: 2 experts per token.* evaluate would use it"
    ):
        loaded(only_evaluated.replace("{preset: nano}", model))
    assert loaded(SFT_ONLY.replace("{preset: nano}", model)).model.checkpoint


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (
            "lora: {layers: [1, 4]}",
            "stages[0].lora.layers: there is no layer 4: the model has layers 0 to 3",
        ),
        (
            "lora: {layers: [0, 2], parts: [routed_experts]}",
            "stages[0].lora: none of the named layers has one of the named parts",
        ),
        (
            "lora: {layers: [1], parts: [mlp]}",
            "stages[0].lora: none of the named layers has one of the named parts",
        ),
    ],
)
def test_adapters_that_sit_nowhere_are_refused(loaded, stage, words):
    with pytest.raises(BadInput) as caught:
        loaded(SFT_ONLY.replace("on: prompts", f"on: prompts, {stage}"))
    assert "small.yaml:6: " in str(caught.value) and words in str(caught.value)


def test_training_experts_of_a_model_without_any_is_refused(loaded, folder):
    model = checkpoint(folder, moe_layers=[])
    text = SFT_ONLY.replace("{preset: nano}", model)
    assert loaded(text).stages[0].train == "lora"
    with pytest.raises(
        BadInput, match=r"stages\[0\].train: the model has no weights for train: experts"
    ):
        loaded(text, ["stages.sft.train=experts"])


def test_layers_are_counted_for_the_large_presets_too(loaded):
    text = SFT_ONLY.replace("nano", "scout").replace(
        "on: prompts", "on: prompts, lora: {layers: [48]}"
    )
    with pytest.raises(BadInput, match="0 to 47"):
        loaded(text)
    assert preset_config("scout").num_hidden_layers == 48
