"""DPO on corner cases of the policy: sampled once, kept, trained on, and measured."""

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from builders.contexts import stage_context
from builders.engine_double import EngineDouble
from builders.learnable import TOKENIZER, pair_inputs
from builders.repeating_policy import SAID, save_repeating
from common.errors import Interrupted, RunFailed
from common.execution import ExecutionConfig
from common.files import read_json_lines
from corner_cases.registry import CASES
from models.checkpoint import load_policy
from prompts.schema import write_prompts
from rollouts.interface import Rollout
from stages.dpo import case_sampling
from stages.dpo import run as dpo
from stages.dpo.config import DpoStage
from stages.dpo.run import run

VALUES = {"id": "dpo", "kind": "dpo", "from": "rl", "train": "full", "learning_rate": 1e-3}
VALUES |= {"batch_size": 2, "beta": 0.5, "max_pairs": 12}
CLEAN, LOOP = "Here is a short reply for you.", "no " * 20
SOURCE = {"corner_cases": ["repetition", "gushing"], "samples": 4, "prompts_per_case": 8}
SOURCE |= {"max_tokens": 64}


class Policy(EngineDouble):
    """Repeats itself in its likeliest answer and in every second other one, and never gushes."""

    def __init__(self):
        self.calls: list[dict[str, Any]] = []
        self.closed = 0

    def encode(self, messages):
        return TOKENIZER.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        asked = {"prompts": len(prompts), "samples": samples, "temperature": temperature}
        self.calls.append({**asked, "seeds": list(seeds)})
        loops = [temperature == 0 or n % 2 for n in range(samples)]
        texts = [(LOOP, "length") if loop else (CLEAN, "stop") for loop in loops]
        return [[self._rollout(*text) for text in texts] for _ in prompts]

    def _rollout(self, text, finish):
        tokens = TOKENIZER(text, add_special_tokens=False)["input_ids"]
        tokens += [TOKENIZER.eos_token_id] * (finish == "stop")
        return Rollout(tokens, [0.0] * len(tokens), text, finish)

    def score(self, prompts, completions, *, cached=False):
        return [[-0.5] * len(completion) for completion in completions]

    def close(self):
        torch.set_num_threads(3)  # as vLLM may
        self.closed += 1


@pytest.fixture
def inputs(tmp_path):
    found = pair_inputs(tmp_path / "inputs", 6)
    write_prompts(found["checkpoint"] / "held_out.parquet", [])
    return {**found, "held_out": found["checkpoint"]}


def trained(folder, inputs, monkeypatch, pairs=SOURCE, policy=None, **settings):
    """What a stage on these pairs returns, its notes, and the engine that it asked."""
    policy = policy or Policy()
    monkeypatch.setattr(case_sampling, "start_engine", lambda *_: policy)
    folder.mkdir(exist_ok=True)
    notes: list[str] = []
    context = stage_context(folder, seed=3, note=notes.append, **settings)
    config = DpoStage.model_validate(VALUES | {"pairs": pairs})
    return run(config, inputs, context), notes, policy


def test_pairs_of_a_case_are_sampled_trained_on_and_recorded(tmp_path, inputs, monkeypatch):
    threads = torch.get_num_threads()
    outputs, notes, policy = trained(tmp_path / "dpo", inputs, monkeypatch)
    assert torch.get_num_threads() == threads
    asked = [(one["prompts"], one["samples"], one["temperature"]) for one in policy.calls]
    assert policy.closed == 1 and asked == [(16, 1, 0.0), (16, 3, 1.0)]
    found = outputs.metrics["corner_cases"]["repetition"]
    assert (found["prompts"], found["answers"], found["rate"]) == (8, 32, 0.5)
    # One a prompt, as its answers are the same; to those in other languages English is no answer.
    assert found["pairs_found"] == found["trained"] == 6
    assert found["prompts_without_pair"] == {"without_a_clean_answer": 2}
    assert found["mean_tokens"] == {"chosen": 31, "rejected": 60}
    assert found["logprob_per_token"] == {"chosen": -0.5, "rejected": -0.5}
    assert outputs.metrics["by_origin"] == {"corner_cases": {"trained": 6}}
    assert outputs.tokens_generated == 16 * 2 * (31 + 60)
    (row, *_) = rows = read_json_lines(tmp_path / "dpo" / "pairs.jsonl")
    assert len(rows) == 6 and (row["case"], row["chosen"], row["rejected"]) == (
        *("repetition", CLEAN, LOOP),
    )
    assert "loop" in row["reason"] and row["evidence"] in LOOP
    assert notes == [
        "corner case gushing gives no pair (prompts: 8 without_the_case); raise samples or"
        " temperature, or leave the case out: the policy hardly shows it"
    ]


def test_a_rejected_answer_that_was_cut_off_is_trained_without_an_end(
    tmp_path, inputs, monkeypatch
):
    trainers: list[Any] = []

    def fit(trainer, *_, **__):
        trainers.append(trainer)
        return {}

    monkeypatch.setattr(dpo, "fit", fit)
    pairs = [{**SOURCE, "share": 0.5}, {"stage": "rl", "share": 0.5}]
    trained(tmp_path / "dpo", inputs | {"pairs 1": inputs["pairs"]}, monkeypatch, pairs)
    rows = list(trainers[0].train_dataset)
    end = TOKENIZER.eos_token_id
    loops = [row for row in rows if TOKENIZER.decode(row["rejected_ids"]).startswith(LOOP)]
    assert len(loops) == 6 and len(rows) == 12
    assert all(end not in row["rejected_ids"] and row["chosen_ids"][-1] == end for row in loops)
    others = [row for row in rows if row not in loops]
    assert all(row["rejected_ids"][-1] == end for row in others)


def test_a_stopped_stage_goes_on_without_sampling_again_in_the_same_bytes(
    tmp_path, inputs, monkeypatch
):
    whole, again = tmp_path / "whole", tmp_path / "again"
    outputs, _, _ = trained(whole, inputs, monkeypatch)
    done = [0]
    settings = {
        "progress": lambda n, *_, unit, **__: done.append(n if unit == "step" else 0),
        "stop_requested": lambda: done[-1] >= 1,
    }
    with pytest.raises(Interrupted):
        trained(again, inputs, monkeypatch, **settings)
    resumed, _, policy = trained(again, inputs, monkeypatch)
    assert policy.calls == [] and policy.closed == 0
    assert resumed == outputs
    for name in ("pairs.jsonl", "metrics.jsonl", "checkpoint/model.safetensors"):
        assert (whole / name).read_bytes() == (again / name).read_bytes(), name


def test_a_stop_between_two_chunks_keeps_nothing(tmp_path, inputs, monkeypatch):
    policy, done = Policy(), []
    stop = {"progress": lambda n, *_, **__: done.append(n), "stop_requested": lambda: len(done) > 1}
    few = {"execution": ExecutionConfig(max_num_seqs=16)}
    with pytest.raises(Interrupted, match="sampled"):
        trained(tmp_path / "dpo", inputs, monkeypatch, policy=policy, **stop, **few)
    assert (done, len(policy.calls), policy.closed) == ([0, 4], 2, 1)
    _, _, other = trained(tmp_path / "dpo", inputs, monkeypatch, **few)
    assert [one["prompts"] for one in other.calls] == [4] * 8


def test_pairs_that_were_damaged_on_disk_are_sampled_again(tmp_path, inputs, monkeypatch):
    trained(tmp_path / "dpo", inputs, monkeypatch)
    state = tmp_path / "dpo" / "resume" / case_sampling.STATE
    state.write_text(state.read_text().replace("short reply", "other reply"))
    for path in (tmp_path / "dpo" / "resume").glob("checkpoint-*/complete.json"):
        path.unlink()
    _, notes, policy = trained(tmp_path / "dpo", inputs, monkeypatch)
    assert len(policy.calls) == 2 and "the corner cases are sampled again" in notes[0]


def test_prompts_that_the_run_holds_out_are_not_asked(tmp_path, inputs, monkeypatch):
    kept = CASES["repetition"].training_prompts()[4:]
    write_prompts(inputs["held_out"] / "held_out.parquet", kept)
    source = {**SOURCE, "corner_cases": ["repetition"], "prompts_per_case": None}
    outputs, _, policy = trained(tmp_path / "dpo", inputs, monkeypatch, source)
    found = outputs.metrics["corner_cases"]["repetition"]
    assert found["prompts_without_pair"] == {"held_out": 85}
    assert [one["prompts"] for one in policy.calls] == [found["prompts"] - 85] * 2


def test_a_stage_without_any_pair_says_what_to_do(tmp_path, inputs, monkeypatch):
    source = {**SOURCE, "corner_cases": ["gushing"]}
    with pytest.raises(RunFailed, match="no pair from corner cases: corner case gushing gives"):
        trained(tmp_path / "dpo", inputs, monkeypatch, source)


def test_corner_cases_and_a_stage_give_their_shares(tmp_path, inputs, monkeypatch):
    pairs = [{"stage": "rl", "share": 0.25}, {**SOURCE, "share": 0.75}]
    outputs, notes, _ = trained(tmp_path / "dpo", inputs, monkeypatch, pairs)
    origins = outputs.metrics["by_origin"]
    assert origins == {"rl": {"trained": 3}, "corner_cases": {"trained": 6}}
    assert "pairs: corner_cases gives 6 of the 9 pairs of its share" in notes


def test_prompts_and_samples_depend_on_the_seed_alone(tmp_path, inputs, monkeypatch):
    first = trained(tmp_path / "one", inputs, monkeypatch)[2].calls
    assert trained(tmp_path / "two", inputs, monkeypatch)[2].calls == first
    assert len(set(first[0]["seeds"])) == 16
    one, other = (case_sampling.drawn("language_change", 3, seed) for seed in (1, 2))
    assert len(one) == 24 and one != other == case_sampling.drawn("language_change", 3, 2)


@torch.no_grad()
def logprob_per_token(policy, pairs):
    """The mean log-probability of the tokens of all chosen answers, as the trainer has it."""
    messages = {one.id: one.messages for one in CASES["repetition"].training_prompts()}
    values = []
    for pair in pairs:
        asked = TOKENIZER.apply_chat_template(
            messages[pair["prompt_id"]], add_generation_prompt=True, return_dict=False
        )
        answer = TOKENIZER(pair["chosen"], add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[*asked, *answer, TOKENIZER.eos_token_id]])
        logprobs = policy(input_ids=ids).logits[0, len(asked) - 1 : -1].log_softmax(-1)
        values += logprobs.gather(1, ids[0, len(asked) :, None])[:, 0].tolist()
    return sum(values) / len(values)


def test_a_policy_unlearns_to_repeat_itself(tmp_path):
    """With vLLM: a policy that repeats itself in half of its answers."""
    (tmp_path / "sft").mkdir()
    (tmp_path / "dpo").mkdir()
    save_repeating(tmp_path / "sft")
    write_prompts(tmp_path / "sft" / "held_out.parquet", [])
    source = {"corner_cases": ["repetition"], "samples": 4, "max_tokens": 60}
    values = {"pairs": source, "max_length_ratio": 3.0, "rollouts": {"max_model_len": 200}}
    config = DpoStage.model_validate(VALUES | values | {"max_pairs": 24})
    inputs = dict.fromkeys(("checkpoint", "reference", "held_out"), tmp_path / "sft")
    outputs = run(config, inputs, stage_context(tmp_path / "dpo", seed=3))
    figures = outputs.metrics["corner_cases"]["repetition"]
    assert figures["trained"] >= 12 and 0.1 < figures["rate"] < 0.8
    rows = read_json_lines(tmp_path / "dpo" / "metrics.jsonl")
    first, last = rows[0], rows[-1]
    pairs = read_json_lines(tmp_path / "dpo" / "pairs.jsonl")
    assert figures["logprob_per_token"]["chosen"] == pytest.approx(
        logprob_per_token(load_policy(tmp_path / "sft" / "checkpoint"), pairs), rel=0.05
    )
    assert last["logps/rejected"] < first["logps/rejected"] - 5
    assert last["rewards/margins"] > 1 and last["rewards/accuracies"] == 1.0
    kept = read_json_lines(tmp_path / "dpo" / "pairs.jsonl")
    assert any(row["chosen"] == SAID[0] for row in kept)
    assert all(row["rejected"].count("no ") > 5 for row in kept)
    before_, after = (
        load_file(folder / "checkpoint" / "model.safetensors")
        for folder in (tmp_path / "sft", tmp_path / "dpo")
    )
    assert any(not before_[name].equal(after[name]) for name in before_)
