"""What would end a run late is said early, with its place and what to do; and it is asked once."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from vllm._custom_ops import cpu_attn_get_scheduler_metadata
from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

from builders.early_recipes import (
    DENSE,
    NANO,
    URL,
    dense_folder,
    early_check,
    prompt,
    write_recipe,
)
from builders.recipe_texts import refused
from builders.toy_runs import found_in, toy_plan
from builders.toy_stages import ToyStage
from common.errors import BadInput
from pipeline.execution.progress import Reporter
from pipeline.execution.request import RunRequest
from pipeline.execution.runner import run_plan
from pipeline.planning.plan import make_node
from pipeline.recipe.load import load_recipe
from prompts.parts import NAMES
from rewards.plain import Plain
from rollouts.heads import ON_CPU, head_sizes


@pytest.mark.parametrize(
    ("old", "new", "message", "remedy"),
    [
        (
            "verifier: exact",
            "verifier: my_rewards.py:score",
            ":4: prompts[0].verifier: no verifier is named 'my_rewards.py:score'",
            f"known are: {', '.join(sorted(NAMES))}",
        ),
        (
            "{preset: nano}",
            '{upcycle: dense, chat_template: ""}',
            ":2: model.chat_template: an empty template renders every chat as an empty text",
            "",
        ),
        (
            "{preset: nano}",
            "{upcycle: dense, chat_template: chat.jinja}",
            ":2: model.chat_template: no such file: ",
            "name a .jinja file; its path is relative to the recipe's folder",
        ),
        (
            "{preset: nano}",
            "{upcycle: dense, chat_template: early.txt}",
            "early.txt is no chat template: it contains no {{ }} and no {% %}",
            "write it in Jinja",
        ),
        (
            "{preset: nano}",
            '{preset: nano, pad_token: "<|pad|>"}',
            ":2: model: pad_token only apply to upcycle and checkpoint",
            "",
        ),
        (
            "steps: 4",
            "steps: 4, rollouts: {max_model_len: 513}",
            (
                ":8: stages[2].rollouts.max_model_len: 513 is longer than the model's context of"
                " 512 tokens"
            ),
            "use at most 512",
        ),
        (
            URL,
            "model: dense, rollouts: {max_model_len: 1024}",
            (
                ":6: stages[0].judges[0].rollouts.max_model_len: 1,024 is longer than the"
                " model's context of 512 tokens"
            ),
            "use at most 512",
        ),
    ],
)
def test_what_needs_no_prompts_is_refused_when_the_recipe_is_read(
    tmp_path, old, new, message, remedy
):
    dense_folder(tmp_path / "dense")
    (tmp_path / "early.txt").write_text("plain")
    error = refused(load_recipe, write_recipe(tmp_path, (old, new)))
    assert message in error.message and remedy in error.remedy


def test_a_linear_rope_makes_the_context_longer(tmp_path):
    texts = (NANO, DENSE), ("steps: 4", "steps: 4, rollouts: {max_model_len: 1024}")
    dense_folder(tmp_path / "dense", rope_scaling={"rope_type": "linear", "factor": 2.0})
    load_recipe(write_recipe(tmp_path, *texts))
    dense_folder(tmp_path / "dense", rope_scaling={"rope_type": "yarn", "factor": 2.0})
    assert "context of 512" in refused(load_recipe, write_recipe(tmp_path, *texts)).message


@pytest.mark.parametrize(
    ("texts", "place"),
    [([(NANO, DENSE)], "model.upcycle"), ([(URL, "model: dense")], "stages[0].judges[0].model")],
)
def test_a_head_that_vllm_cannot_compute_here_is_refused_here_and_planned_for_elsewhere(
    tmp_path, texts, place
):
    dense_folder(tmp_path / "dense", head_dim=40)
    path = write_recipe(tmp_path, *texts)
    load_recipe(path)
    error = refused(load_recipe, path, here=True)
    assert (
        f"{place}: attention heads of 40, and vLLM on a CPU supports 32, 48, 64, 80, "
        in error.message
    )
    assert "head_dim is one of them (64, say)" in error.remedy


def has_kernel(head_size, dtype):
    one = {
        "num_reqs": 1,
        "num_heads": 2,
        "num_kv_heads": 2,
        "seq_lens": torch.tensor([8], dtype=torch.int32),
    }
    how = {"causal": True, "sliding_window_size": -1, "enable_kv_split": False}
    starts, isa = torch.tensor([0, 8], dtype=torch.int32), _get_attn_isa(dtype, 32, head_size)
    try:
        cpu_attn_get_scheduler_metadata(
            head_dim=head_size, dtype=dtype, query_start_loc=starts, isa=isa, **one, **how
        )
    except RuntimeError as error:
        assert "Unsupported CPU attention configuration" in str(error)
        return False
    return True


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_head_sizes_are_those_of_vllms_kernels(dtype):
    assert (
        tuple(size for size in range(2, 642, 2) if has_kernel(size, dtype))
        == ON_CPU
        == head_sizes()
    )


def test_held_out_prompts_that_are_asked_must_be_there(tmp_path):
    error = refused(early_check, write_recipe(tmp_path), held_out=[])
    assert error.message.startswith(
        "evaluate.suites[0]: held_out is asked, but no prompt is held out"
    )
    assert "give a source more prompts or a larger `held_out`" in error.remedy
    early_check(write_recipe(tmp_path, ("held_out, ", "")), held_out=[])


OWN = ("steps: 4", "steps: 4, evaluate: {every: 2}")


PROBED = ("on: prompts, learning_rate: 1e-4", "on: prompts, learning_rate: 1e-4, stop_when: {}")


@pytest.mark.parametrize(
    ("asks", "section", "engine"),
    [
        (OWN, "stages[2].evaluate", "stages[2]"),
        (PROBED, "stages[1].stop_when", "stages[1].stop_when"),
    ],
)
def test_a_stage_that_asks_the_dev_part_needs_prompts_in_it(tmp_path, asks, section, engine):
    path = write_recipe(tmp_path, asks)
    error = refused(early_check, path, held_out=[prompt("k"), prompt("c")])
    assert error.message == f"{section}: {EMPTY.format('dev')}, whose score decides"
    long = [prompt("k"), prompt("g", "x" * 460)]
    said = early_check(path, held_out=long)["notes"]
    room = f"{section}: 1 of 2 prompts are longer than {engine}.rollouts.max_model_len (512)"
    assert any(note.startswith(room) for note in said)


@pytest.mark.parametrize(
    ("asks", "section"), [(OWN, r"stages\[2\].evaluate"), (PROBED, r"stages\[1\].stop_when")]
)
def test_held_out_prompts_are_asked_only_of_a_source_that_holds_some_out(tmp_path, asks, section):
    path = write_recipe(
        tmp_path, asks, ("held_out: 0.25", "held_out: 0"), ("suites: [held_out, ", "suites: [")
    )
    with pytest.raises(BadInput, match=f"{section}: held_out is a suite, but every source"):
        load_recipe(path)
    every = write_recipe(tmp_path, ("held_out: 0.25", "held_out: 0"))
    with pytest.raises(BadInput, match=r"evaluate\.suites: held_out is a suite, but every source"):
        load_recipe(every)


GATED = ("after: [rl]", "after: [rl], gates: [{suite: held_out, max_drop: 0.1}]")
EMPTY = "held_out has 2 prompts, and none of them is in its {} part"


@pytest.mark.parametrize(("ids", "empty"), [("bh", "final"), ("kc", "dev")])
def test_a_part_without_prompts_is_told(tmp_path, ids, empty):
    held_out = [prompt(id) for id in ids]
    (note,) = early_check(write_recipe(tmp_path), held_out=held_out)["notes"]
    assert note.startswith(f"evaluate.suites[0]: {EMPTY.format(empty)}, which gets no score")


def test_a_gate_needs_prompts_in_the_dev_part_and_reads_no_final_one(tmp_path):
    path = write_recipe(tmp_path, GATED)
    error = refused(early_check, path, held_out=[prompt("k"), prompt("c")])
    assert error.message == f"evaluate.suites[0]: {EMPTY.format('dev')}, whose score decides"
    assert "a larger `held_out`" in error.remedy
    assert early_check(path, held_out=[prompt("b"), prompt("h")])["notes"]


def test_a_capability_that_is_evaluated_must_be_trained(tmp_path):
    error = refused(early_check, write_recipe(tmp_path), held_out=[prompt("g", capability="sums")])
    assert (
        error.message
        == "prompts: 'sums' has 1 held-out prompts and none to train on, such as prompt g"
    )
    assert error.remedy == "add prompts of that capability, or give its source `held_out: 0`"


class Recorder(Reporter):
    """Keeps what it would print."""

    def __init__(self, bars):
        super().__init__(bars)
        self.said: list[str] = []

    def line(self, text):
        self.said.append(text)


def toy(run, *, asks=1, ending="good", redo=()):
    """Runs two toy stages with an early check between them; what was said."""
    plan = toy_plan(
        [{"id": "prompts", "steps": 1}, {"id": "costly", "after": "prompts", "steps": 1}]
    )
    config = ToyStage(id="preflight", after="prompts", steps=asks, ending=ending)
    node = make_node(
        config, 0, {node.id: node for node in plan.nodes}, "preflight", module="builders.toy_stages"
    )
    reporter, message = Recorder(bars=False), None
    try:
        run_plan(RunRequest(replace(plan, preflight=node), run, redo=redo, reporter=reporter))
    except BadInput as error:
        message = error.message
    return [line.split(":")[0] for line in reporter.said], message


def test_the_early_check_comes_before_what_costs_and_once_while_nothing_changes(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    first, early, second = ["[1/2] prompts"] * 2, ["early check"] * 2, ["[2/2] costly"] * 2
    assert toy(tmp_path, asks=3, ending="bad_input") == (
        [*first, *early[:1]],
        "stage 'preflight': row 3 is broken",
    )
    assert [path.name for path in tmp_path.glob("*/record.json")] == ["record.json"]
    assert toy(tmp_path) == ([*first[:1], *early, *second], None)
    assert toy(tmp_path) == ([*first[:1], *second[:1]], None)
    moved = [f"{tmp_path / '02-costly'} moved to {tmp_path / 'replaced' / '02-costly'}"]
    assert toy(tmp_path, redo=["costly"]) == ([*moved, *first[:1], *second], None)
    assert toy(tmp_path, redo=["costly"], asks=2) == ([*moved, *first[:1], *early, *second], None)
    assert found_in(tmp_path) == ""
    (tmp_path / "preflight" / "count.txt").write_text("0")
    assert f"{tmp_path / 'preflight' / 'count.txt'}: " in found_in(tmp_path)


def test_what_a_verifier_lacks_is_known_before_anything_expensive(tmp_path, monkeypatch):
    def lacks(self, part):
        raise BadInput("bwrap is not installed", "apt-get install bubblewrap")

    monkeypatch.setattr(Plain, "require", lacks)
    with pytest.raises(BadInput, match="verifier exact of prompt a: bwrap is not") as refused_:
        early_check(write_recipe(tmp_path))
    assert "apt-get install bubblewrap" in refused_.value.remedy


def test_a_limit_that_leaves_corner_cases_without_a_question_is_told_early(tmp_path):
    suites = ("suites: [held_out, ", "suites: [{name: corner_cases, limit: 31}, ")
    error = refused(early_check, write_recipe(tmp_path, suites), held_out=[prompt("b")])
    assert error.message.startswith("evaluate.suites[0]: corner_cases: a limit of 31 leaves cases")
    own = (OWN[0], OWN[1].replace("every: 2", "every: 2, suite: corner_cases, limit: 15"))
    assert own != OWN
    error = refused(early_check, write_recipe(tmp_path, own), held_out=[prompt("b"), prompt("h")])
    assert error.message.startswith("stages[2].evaluate: corner_cases: a limit of 15 leaves cases")
    enough = (own[0], own[1].replace("limit: 15", "limit: 16"))
    early_check(write_recipe(tmp_path, enough), held_out=[prompt("b"), prompt("h")])
