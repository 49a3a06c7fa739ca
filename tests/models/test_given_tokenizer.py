"""`pad_token` and `chat_template` of a recipe are in the starting checkpoint, and so in all later
ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from builders.checkpoint_folders import edit_config
from builders.early_recipes import DENSE, NANO, dense_folder, write_recipe
from builders.recipe_texts import refused
from common.stage import StageContext
from models.checkpoint import load_tokenizer
from models.nano import CHAT_TEMPLATE, PAD, nano_tokenizer
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe
from stages.base.config import BaseStage
from stages.base.run import run

ROOT = Path(__file__).parents[2]
GIVEN = CHAT_TEMPLATE.replace("{% for", "{# given #}{% for", 1)


def base_stage(model, out):
    out.mkdir()
    context = StageContext(
        folder=out, seed=3, progress=lambda *a, **k: None, stop_requested=lambda: False, threads=1
    )
    run(BaseStage(model=model), {}, context)
    return out / "checkpoint"


@pytest.fixture
def dense(tmp_path):
    """A dense Llama without a pad token and without a chat template, and a template beside it."""
    tokenizer = nano_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=512,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "dense")
    tokenizer.save_pretrained(tmp_path / "dense")
    (tmp_path / "dense" / "chat_template.jinja").unlink()
    edit_config(tmp_path / "dense", "tokenizer_config.json", pad_token=None)
    (tmp_path / "chat.jinja").write_text(GIVEN)
    return tmp_path / "dense"


def given(template="chat.jinja", pad=PAD):
    return (
        NANO,
        f'model: {{upcycle: dense, moe_every: 1, pad_token: "{pad}", chat_template: {template}}}',
    )


def test_what_the_recipe_gives_is_in_the_starting_checkpoint_and_stays_when_that_is_started_from(
    dense, tmp_path
):
    upcycled = base_stage(load_recipe(write_recipe(tmp_path, given())).model, tmp_path / "one")
    again = (NANO, f"model: {{checkpoint: {upcycled}}}")
    copied = base_stage(load_recipe(write_recipe(tmp_path, again)).model, tmp_path / "two")
    for checkpoint in (upcycled, copied):
        plain = AutoTokenizer.from_pretrained(checkpoint)
        assert (plain.chat_template, plain.pad_token) == (GIVEN, PAD)
        assert (
            json.loads((checkpoint / "config.json").read_text())["pad_token_id"]
            == plain.pad_token_id
        )


def test_a_recipe_may_contain_the_template_itself(dense, tmp_path):
    model = load_recipe(write_recipe(tmp_path, given(json.dumps(GIVEN)))).model
    assert AutoTokenizer.from_pretrained(base_stage(model, tmp_path / "one")).chat_template == GIVEN


def test_a_template_enters_the_fingerprint_by_its_content(dense, tmp_path):
    first = build_plan(load_recipe(write_recipe(tmp_path, given())))["base"].fingerprint
    (tmp_path / "chat.jinja").rename(tmp_path / "other.jinja")
    path = write_recipe(tmp_path, given("other.jinja"))
    assert build_plan(load_recipe(path))["base"].fingerprint == first
    (tmp_path / "other.jinja").write_text(GIVEN + " ")
    assert build_plan(load_recipe(path))["base"].fingerprint != first


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("<|padding|>", "pad_token: the tokenizer has no token '<|padding|>'"),
        ("<|end|>", "pad_token: '<|end|>' is the token that ends an answer"),
    ],
)
def test_a_pad_token_must_be_in_the_vocabulary_and_not_the_end_token(dense, token, message):
    error = refused(load_tokenizer, dense, pad_token=token, chat_template=GIVEN)
    assert error.message == f"{dense}: {message}"
    assert error.remedy == "name a token that nothing else uses, such as '<|pad|>'"


def uphill(folder, *words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "pipeline", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_a_run_stops_before_anything_that_costs_and_check_says_the_same(tmp_path):
    dense_folder(tmp_path / "dense", CHAT_TEMPLATE.replace("<|end|>", ""))
    recipe = write_recipe(tmp_path, (NANO, DENSE))
    ran, checked = (
        uphill(tmp_path, "run", str(recipe)),
        uphill(tmp_path, "check", "--deep", str(recipe)),
    )
    for done in (ran, checked):
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "error: stage 'preflight': model: the chat template of " in done.stderr
        assert "nothing comes after an answer, but the engine stops at '<|end|>'" in done.stderr
        assert "remedy: have the template write '<|end|>' after an answer" in done.stderr
    assert [path.parent.name for path in tmp_path.glob("runs/*/*/record.json")] == ["01-prompts"]
    assert uphill(tmp_path, "check", str(recipe)).returncode == 0
    answered = uphill(tmp_path, "check", "--deep", "--json", str(write_recipe(tmp_path)))
    (entry,) = json.loads(answered.stdout)["recipes"]
    assert [row["place"] for row in entry["asked"]][:2] == ["stages[1]", "stages[2]"] and entry[
        "notes"
    ] == []
