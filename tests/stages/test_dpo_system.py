"""DPO trains its pairs under the very prompt tokens that RL sampled them under, system prompts
included."""

from typing import Any

import pytest

from builders.contexts import stage_context
from builders.given_grades import GivenGrades
from builders.scripted_collector import RIGHT, WRONG, ScriptedEngine, graded
from builders.single_prompts import prompt_of
from common.errors import BadInput
from common.files import append_json_line, read_json_lines, write_json_lines
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from models.checkpoint import save_policy
from models.nano import nano_model, nano_tokenizer
from prompts.schema import Prompt, write_prompts
from rollouts.sampling import counts
from stages.dpo import run as dpo
from stages.dpo.config import DpoStage
from stages.dpo.gather import read_groups
from stages.rl.collector import RolloutCollector
from stages.rl.config import RlStage

SYSTEMS = ("be brief", "be very kind")
OWN = [{"role": "system", "content": "own"}, {"role": "user", "content": "own"}]
TOKENIZER = nano_tokenizer()


class Engine(ScriptedEngine):
    """Half of the answers are right, three quarters to the prompt with a system message of its own;
    encodes as the real engine does."""

    def __init__(self):
        super().__init__({})

    def encode(self, messages):
        return TOKENIZER.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )

    def generate(self, prompts, *, samples, **settings):
        own = self.encode(OWN)
        scripts = [[RIGHT, WRONG, RIGHT, RIGHT if prompt == own else WRONG] for prompt in prompts]
        return [
            [self._rollout(script, i) for i in range(count)]
            for script, count in zip(scripts, counts(samples, prompts), strict=True)
        ]


@pytest.fixture
def rolled_out_stage(tmp_path):
    """The folder of an RL stage of four steps under two system prompts, and its groups."""
    prompts = {n: prompt_of(n, n, capability="w") for n in "abcdef"}
    prompts["own"] = Prompt("own", OWN, "a", "exact", "w", "s", None, {})
    values = {
        "id": "rl",
        "kind": "rl",
        "from": "sft",
        "on": "filter",
        "steps": 9,
        "learning_rate": 1e-4,
    }
    values |= {
        "group_size": 4,
        "prompts_per_step": 7,
        "system_prompts": SYSTEMS,
        "curriculum": {"pilot": 0},
    }
    config = RlStage.model_validate(values)
    ledger = Ledger(None)
    ledger.add(NewPrompt(name, "w", "s", Beta(1.0, 1.0)) for name in prompts)
    collector = RolloutCollector(config, prompts, ledger, Engine(), GivenGrades(graded), seed=1)
    folder, groups = tmp_path / "rl", []
    folder.mkdir()
    for step in range(4):
        batch = collector.collect(step)
        for group in batch.rolled_out:
            append_json_line(folder / "groups.jsonl", group.to_json(step, config.system_prompts))
            groups.append((step, group))
    write_prompts(folder / "prompts.parquet", list(prompts.values()))
    return folder, groups, batch


def trained_on(folder, monkeypatch):
    """The data of the trainer that the DPO stage makes: rows with `prompt_ids`, and its pairs."""
    trainers: list[Any] = []
    stage = folder.parent / "dpo"
    stage.mkdir()
    save_policy(nano_model(TOKENIZER, seed=0), TOKENIZER, folder / "checkpoint")

    def fit(trainer, *_, **__):
        trainers.append(trainer)
        return {}

    monkeypatch.setattr(dpo, "fit", fit)
    config = DpoStage.model_validate(
        {"id": "dpo", "kind": "dpo", "from": "rl", "pairs": "rl", "learning_rate": 1e-5}
    )
    context = stage_context(stage)
    dpo.run(config, dict.fromkeys(("pairs", "checkpoint", "reference"), folder), context)
    return list(trainers[0].train_dataset), read_json_lines(stage / "pairs.jsonl")


def test_pairs_are_trained_under_the_prompt_tokens_that_they_were_sampled_under(
    rolled_out_stage, monkeypatch
):
    folder, groups, _ = rolled_out_stage
    sampled = {(group.prompt_id, step): group.prompt_ids for step, group in groups}
    rows, pairs = trained_on(folder, monkeypatch)
    assert len(rows) == len(pairs) == 7
    for row, pair in zip(rows, pairs, strict=True):
        assert row["prompt_ids"] == sampled[pair["prompt_id"], pair["step"]]
    texts = [TOKENIZER.decode(row["prompt_ids"]) for row in rows]
    for system in (*SYSTEMS, "own"):
        assert any(f"<|system|>{system}<|user|>" in text for text in texts)


def test_a_prompt_with_a_system_message_of_its_own_counts_for_none_of_the_recipes(rolled_out_stage):
    _, _, batch = rolled_out_stage
    passes = {
        n: [g for g in batch.rolled_out if g.system == n and g.prompt_id != "own"] for n in (0, 1)
    }
    for n, groups in passes.items():
        rate = sum(g.passes for g in groups) / sum(len(g.usable) for g in groups)
        assert batch.metrics[f"system/{n}/pass_rate"] == rate


def test_groups_that_only_number_their_system_prompt_are_refused(tmp_path):
    write_json_lines(
        tmp_path / "groups.jsonl", [{"system": None}, {"system": "be kind"}, {"system": 1}]
    )
    with pytest.raises(BadInput, match="line 3: system is 1"):
        read_groups(tmp_path / "groups.jsonl")
