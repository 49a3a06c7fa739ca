"""Evaluations of an engine that answers from a script."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace

from builders.contexts import stage_context
from builders.engine_double import EngineDouble
from builders.single_prompts import prompt_of
from common.execution import ExecutionConfig
from evals.config import SuiteConfig
from prompts.schema import write_prompts
from rollouts.config import RolloutConfig
from rollouts.interface import Rollout
from stages.evaluate.config import EvaluateStage
from stages.evaluate.run import run


def prompt(number, capability="c", answer=None):
    return prompt_of(f"p{number}", f"q {number}", answer or f"a{number}", capability=capability)


def suite(name="held_out", **fields):
    return SuiteConfig(name=name, **fields)


@dataclass
class ScriptedAnswers(EngineDouble):
    """An engine whose answer to `q N` is `replies[N]`; a token a character."""

    replies: dict
    max_model_len: int = 20
    closed: bool = False

    def encode(self, messages):
        if messages and messages[0]["role"] == "system":
            raise ValueError("this template knows no system role")
        if not messages:
            return []
        return [ord(letter) for letter in messages[-1]["content"]]

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        assert (samples, temperature, top_p, len(seeds)) == (1, 0.0, 1.0, len(prompts))
        # A prompt without room is refused by a real engine.
        assert all(len(tokens) + max_tokens <= self.max_model_len for tokens in prompts)
        texts = [self.replies["".join(map(chr, tokens))] for tokens in prompts]
        return [[self._rollout(text, max_tokens)] for text in texts]

    def _rollout(self, text, max_tokens):
        finish = "stop" if len(text) < max_tokens else "length"
        return Rollout([1] * len(text), [0.0] * len(text), text, finish)

    def close(self):
        self.closed = True


def evaluation(parent, monkeypatch, name, right, stop=False, execution=None, **rollouts):
    """An evaluate stage on six held-out prompts, of which those in `right` are answered right.

    Gives (folder, engine, a function that runs the stage)."""
    inputs = {"prompts": parent / "prompts", "checkpoint": parent / "base"}
    inputs["prompts"].mkdir(exist_ok=True)
    write_prompts(
        inputs["prompts"] / "held_out.parquet",
        [prompt(n, "even" if n % 2 else "odd") for n in range(6)],
    )
    settings = RolloutConfig(**rollouts)
    replies = {f"q {n}": f"a{n}" if n in right else "no" for n in range(6)}
    engine = ScriptedAnswers(replies, settings.max_model_len)
    fake = SimpleNamespace(Engine=lambda checkpoint, config, seed, execution: engine)
    folder = parent / name
    folder.mkdir()
    config = EvaluateStage(id="e", kind="evaluate", of="base", suites=(suite(),), rollouts=settings)

    def start():
        monkeypatch.setitem(sys.modules, "rollouts.engine", fake)
        how = ExecutionConfig(**(execution or {}))
        context = stage_context(folder, 5, stop_requested=lambda: stop, execution=how)
        return run(config, inputs, context)

    return folder, engine, start
