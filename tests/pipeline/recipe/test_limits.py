"""Implausible numbers are refused by `check`; an evaluation at another length is another
evaluation."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from builders.command_line import pretend
from common.errors import BadInput
from models.config import ModelConfig
from models.context import context_in, context_of
from pipeline.execution.stage_process import settings
from pipeline.planning.plan import Plan
from pipeline.recipe.load import load_recipe

RECIPE = """\
name: small
model: {upcycle: smollm2-135m-instruct}
prompts:
  - {source: reasoning_gym, family: chain_sum, count: 9}
stages:
  - {id: filter, kind: judge_filter, drop_easiest: 0.5, judges: [{kind: rubric, model: smollm2-135m-instruct}]}
  - {id: sft, kind: sft, on: filter, learning_rate: 1e-4}
  - {id: rl, kind: rl, from: sft, on: filter, steps: 4, learning_rate: 1e-5}
evaluate: {suites: [held_out, gsm8k], after: [base]}
"""  # noqa: E501


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("runtime.threads=99999", "runtime.threads: 99,999 threads, but this process may run on "),
        ("stages=[]", "stages: is empty"),
        ("prompts.0.count=1000000000000", "prompts[0].count: 1,000,000,000,000 is implausible"),
        ("stages.sft.epochs=1e300", "stages[1].epochs: a number this large is implausible"),
        (
            "stages.sft.learning_rate=5",
            "stages[1].learning_rate: 5.0 is implausible: the largest accepted value is 1.0",
        ),
        ("stages.rl.steps=1000000000", "stages[2].steps: 1,000,000,000 is implausible"),
        ("stages.rl.steps=true", "stages[2].steps: must be a whole number of at least 1, got true"),
        ("stages.rl.group_size=1000000", "stages[2].group_size: 1,000,000 is implausible"),
        ("stages.rl.temperature=70", "stages[2].temperature: 70.0 is implausible"),
        ("stages.sft.lora.rank=1000", "stages[1].lora.rank: 1,000 is above the model's width, 576"),
        (
            "stages.rl.parity_tolerance=1e9",
            "stages[2].parity_tolerance: 1,000,000,000.0 is implausible: the largest accepted value"
            " is 1.0",
        ),
        ("model.experts=100000", "model.experts: 100,000 is implausible"),
        (
            "model.moe_every=31",
            "model.moe_every: 31 leaves no layer with experts in a model of 30 layers",
        ),
        (
            "stages.rl.rollouts.max_model_len=9000",
            "stages[2].rollouts.max_model_len: 9,000 is longer than the model's",
        ),
        (
            "stages.filter.judges.0.rollouts.max_model_len=9000",
            "stages[0].judges[0].rollouts.max_model_len: 9,000 is longer",
        ),
        (
            "stages.filter.audit={rollouts: {max_model_len: 9000}}",
            "stages[0].audit.rollouts.max_model_len: 9,000 is",
        ),
        (
            "evaluate.rollouts.max_model_len=9000",
            "evaluate.rollouts.max_model_len: 9,000 is longer than the model's",
        ),
        (
            "runtime.stages.evaluate.max_num_seqs=5000",
            "runtime.stages.evaluate.max_num_seqs: 5,000 sequences at once are more",
        ),
        (
            "evaluate.rollouts.max_model_len=256",
            "evaluate.suites[1]: answers of gsm8k may take 256 tokens, which leaves",
        ),
        (
            "evaluate.suites.0={name: held_out, max_tokens: 512}",
            "evaluate.suites[0]: answers of held_out may take 512",
        ),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused(tmp_path, setting, words):
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    load_recipe(path)
    with pytest.raises(BadInput) as caught:
        load_recipe(path, [setting])
    assert words in caught.value.message and caught.value.remedy


def test_memory_that_is_not_there_ends_a_run_and_no_plan(tmp_path):
    path, setting = tmp_path / "small.yaml", ["runtime.execution.kv_cache_gib=1000000"]
    path.write_text(RECIPE)
    load_recipe(path, setting)
    with pytest.raises(BadInput, match="1,000,000 GiB are more than this machine's memory"):
        load_recipe(path, setting, to_run=True)


@pytest.mark.parametrize(
    ("devices", "place"),
    [
        ("{processes: 5000, sharding: ddp}", "runtime.devices.processes: 5,000 are to be started"),
        (
            "{engine: {kind: server, replicas: 900}}",
            "runtime.devices.engine: 900 are to be started",
        ),
    ],
)
def test_more_processes_than_cpus_end_a_run_and_no_plan(tmp_path, devices, place):
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.replace("{id: rl,", "{id: rl, rollouts: {max_model_len: 64},"))
    settings = [f"runtime.devices={devices}", "runtime.stages.rl.devices.engine={kind: server}"]
    settings = settings[: 2 if "processes" in devices else 1]
    load_recipe(path, settings)
    with pytest.raises(BadInput) as caught:
        load_recipe(path, settings, to_run=True)
    assert place in caught.value.message


def test_servers_that_already_run_need_their_secret_and_a_folder_before_anything_runs(
    tmp_path, monkeypatch
):
    path, folder = tmp_path / "small.yaml", tmp_path / "weights"
    layout = f"{{kind: remote, urls: ['http://10.0.0.2:8000'], weights_dir: {folder}}}"
    setting = [f"runtime.devices.engine={layout}"]
    path.write_text(RECIPE)
    monkeypatch.delenv("UPHILL_SERVER_SECRET", raising=False)
    load_recipe(path, setting)
    with pytest.raises(BadInput) as caught:
        load_recipe(path, setting, to_run=True)
    assert "devices.engine.secret_env: the environment variable UPHILL" in caught.value.message
    assert f"devices.engine.weights_dir: there is no folder {folder}" in caught.value.message
    folder.mkdir()
    monkeypatch.setenv("UPHILL_SERVER_SECRET", "0" * 32)
    load_recipe(path, setting, to_run=True)


def test_a_run_from_a_larger_machine_is_evaluated_with_the_cores_that_are_here():
    assert settings(Plan("x", (), runtime={"threads": 99_999}))["threads"] == len(
        os.sched_getaffinity(0)
    )


def test_a_context_is_what_the_config_says(tmp_path):
    assert context_of(ModelConfig(preset="nano")) == 512
    assert context_of(ModelConfig(upcycle="smollm2-135m-instruct")) == 8192
    config: dict[str, Any] = {
        "model_type": "llama4",
        "text_config": {
            "max_position_embeddings": 64,
            "rope_scaling": {"rope_type": "linear", "factor": 4.0},
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert context_in(str(tmp_path)) == 256
    config["text_config"]["rope_scaling"]["rope_type"] = "yarn"  # which counts its factor in
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert context_in(str(tmp_path)) == 64
    assert context_in(str(tmp_path / "nowhere")) is None


def test_eval_at_another_length_is_another_evaluation(folder, uphill, answered):
    pretend({"base": 2}, until="sft")
    ask = ("eval", "small", "--suite", "held_out", "--json")
    assert [
        uphill(*ask, *more)[0]
        for more in ([], ["--max-model-len", "512"], ["--max-model-len", "100"])
    ] == [0] * 3
    assert list(answered) == ["sft+held_out", "sft+held_out+max_model_len=100"]
    record = json.loads(
        Path("runs/small/evals/sft+held_out+max_model_len=100/record.json").read_text()
    )
    assert record["identity"]["config"]["rollouts"]["max_model_len"] == 100
    code, _, err = uphill(
        *ask, "--max-model-len", "99", "--out", "runs/small/evals/sft+held_out+max_model_len=100"
    )
    assert code == 2 and "rollouts.max_model_len was 100 and is now 99" in err


@pytest.mark.parametrize("subject", ["small:sft", "runs/small/03-sft/checkpoint"])
def test_eval_refuses_a_length_that_leaves_no_prompt_room(folder, uphill, answered, subject):
    pretend({"base": 2}, until="sft")
    assert (
        uphill("eval", subject, "--suite", "gsm8k", "--max-model-len", "300", "--out", "out")[0]
        == 0
    )
    code, _, err = uphill("eval", subject, "--suite", "gsm8k", "--max-model-len", "256")
    assert (
        code == 2 and "256 tokens, which leaves no room for a prompt in max_model_len (256)" in err
    )


def test_eval_refuses_a_length_beyond_the_models_context(folder, uphill):
    Path("model").mkdir()
    Path("model/config.json").write_text('{"max_position_embeddings": 1024}')
    Path("model/model.safetensors").write_bytes(b"weights")
    code, _, err = uphill("eval", "model", "--suite", "gsm8k", "--max-model-len", "1025")
    assert (
        code == 2
        and "max_model_len 1,025 is longer than the context of" in err
        and "1,024 tokens" in err
    )
