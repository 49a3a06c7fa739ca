"""Three optimiser steps of an RL trainer on given groups; the program of `test_rl_processes.py`:
`python rl_ranks.py FOLDER RANK PROCESSES SHARDING TRAIN KL_WEIGHT`. Process 0 writes
`result.pt`."""

import copy
import sys
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file

from builders.contexts import stage_context
from builders.rl_trainer import STAGE, GivenBatch, SameWeights
from common.execution import ExecutionConfig
from models import packed
from models.adapters import policy_weights
from models.checkpoint import load_policy, save_policy
from models.nano import nano_model, nano_tokenizer
from rollouts.interface import Rollout
from rollouts.parity import trainer_logprobs
from stages.rl.ahead import StepRollouts
from stages.rl.collector import StepBatch
from stages.rl.config import RlStage
from stages.rl.groups import Group, Member
from stages.rl.kl import reference_of
from stages.rl.leader import Leader
from stages.rl.own_evaluation import OwnEvaluation
from stages.rl.passes import forward_passes
from stages.rl.run import build_trainer
from stages.rl.step_metrics import TokenTotals
from training import processes
from training.loop import fit
from training.policy import load
from training.publish import Probe

SHAPES: list[tuple[list[int], list[tuple[int, float]]]] = [
    ([20, 21, 22, 23, 24], [(3, 1.0), (5, 0.0), (2, 1.0)]),
    ([30, 31], [(4, 1.0), (1, 0.0)]),
]
"""Prompts, and the lengths and rewards of their completions: five sequences."""
ROWS = 1
"""Sequences of a process in a pass: with two processes the last pass has one for the first."""


class Following(SameWeights):
    """An engine with weights of its own, which are those that were published."""

    def publish(self, weights, version):
        self.policy.load_state_dict(dict(weights), strict=False)
        self.version = version

    def routing(self, sequences):
        from models.routing import routing

        return routing(self.policy, sequences)


class Batches(GivenBatch):
    """Groups in the first and third step, nothing to train on in the second."""

    def __init__(self, engine: Following) -> None:
        super().__init__(StepBatch(), engine)
        self.policy = engine.policy

        self.totals = TokenTotals([])

    def collect(self, step, version):
        if step == 1:
            return StepBatch(version=version)
        policy = self.policy
        groups = [group(f"g{n}", policy, *shape) for n, shape in enumerate(SHAPES)]
        rows = self.rows_per_forward
        tokens = sum(one.loss_tokens for one in groups)
        return StepBatch(groups, groups, forward_passes(groups, rows), tokens, version=version)


class SecondIsBest:
    """Stands in for the scores of a stage; keeps what the engine holds at the best step."""

    def __init__(self, engine: Following) -> None:
        self.engine, self.second = engine, dict[str, torch.Tensor]()

    def noted(self, step, reward):
        pass

    def evaluate(self, step):
        if step == 2:
            state = self.engine.policy.state_dict()
            self.second = {name: tensor.clone() for name, tensor in state.items()}
        return {"step": step, "score": step / 10, "best": step == 2, "tokens": 5}

    def best(self):
        return {"step": 2, "score": 0.2} if self.second else None


def group(name, policy, prompt, completions):
    members = []
    for place, (length, reward) in enumerate(completions):
        ids = list(range(40 + 7 * place, 40 + 7 * place + length))
        logprobs = trainer_logprobs(policy, [prompt], [ids]).tolist()
        members.append(Member(Rollout(ids, logprobs, "", "stop"), reward, None))
    return Group(name, "words", prompt, members, probe=False)


def main(folder: str, rank: str, count: str, sharding: str, train: str, kl_weight: str) -> None:
    # The head of longer completions is computed in parts: here in another number by each process.
    packed.HEAD_TOKENS = 4
    work, of = Path(folder), int(count)
    devices = {"processes": of, "sharding": sharding, "engine": {"kind": "server"}}
    execution: Any = {"rows_per_forward": ROWS, "save_every": 100, "devices": devices}
    context = stage_context(
        work, rank=int(rank), execution=ExecutionConfig.model_validate(execution), seed=3
    )
    processes.join(context)
    start = work.parent / "start"
    evaluate = {"every": 1, "keep_best": True}
    values = {**STAGE, "steps": 3, "train": train, "learning_rate": 1e-2, "evaluate": evaluate}
    config = RlStage.model_validate({**values, "kl_weight": float(kl_weight)})
    trained = load(config, start, 3)
    for name, weight in trained.policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02, generator=torch.Generator().manual_seed(1))
    reference = reference_of(config, trained.policy, start)
    leader, scores = None, cast(Any, None)
    if context.main:
        engine = Following(copy.deepcopy(load_policy(start)))
        given: Any = Batches(engine)
        given.rows_per_forward = ROWS * of
        scores = SecondIsBest(engine)
        leader = Leader(StepRollouts(given, ahead=0, steps=3), given, of)
    probe = Probe([[20, 21]], [[22, 23]])
    evaluation = OwnEvaluation(config, context, leader=leader, scores=scores, start=None)
    trainer = build_trainer(config, context, trained, leader, probe, reference, evaluation)
    trainer.args.optim = "sgd"
    last = fit(trainer, config, context, start=None, probe=[[20, 21, 22]], shown=())
    assert evaluation.place_best()
    weights = {name: w.detach().clone() for name, w in policy_weights(trainer.policy)}
    world, wrapped = processes.gather(context, context.rank), type(trainer.model_wrapped).__name__
    rows = [row for row in trainer.state.log_history if "loss" in row]
    if context.main:
        found = {"world": world, "wrapped": wrapped, "weights": weights, "rows": rows, "last": last}
        found |= {"best": load_file(work / "checkpoint" / "model.safetensors")}
        found |= {"second": scores.second}
        torch.save(found, work / "result.pt")


def make_start(folder: Path) -> None:
    """The checkpoint that all start from."""
    tokenizer = nano_tokenizer()
    save_policy(nano_model(tokenizer, seed=3), tokenizer, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
