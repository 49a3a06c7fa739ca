"""An RL stage in this process: the nano model, and an engine that samples from a copy of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from builders.contexts import stage_context
from builders.engine_double import EngineDouble
from builders.given_grades import GivenGrades
from builders.single_prompts import prompt_of
from common.execution import ExecutionConfig
from evals.parts import DEV, FINAL, part_of
from models.checkpoint import load_policy, load_tokenizer, save_policy
from models.nano import nano_model, nano_tokenizer
from prompts.schema import write_prompts
from rewards.grader import Grade
from rollouts.interface import UNPUBLISHED, Rollout
from rollouts.parity import trainer_logprobs
from rollouts.sampling import counts
from stages.rl import run as rl
from stages.rl.config import RlStage

WORDS = "abcdefgh"
"""The training prompts."""
DEV_IDS = [f"h{n}" for n in range(40) if part_of(f"h{n}") == DEV][:6]
FINAL_IDS = [f"h{n}" for n in range(40) if part_of(f"h{n}") == FINAL][:6]


class Killed(BaseException):
    """Ends a stage where it stands."""


class SampledNano(EngineDouble):
    """Samples with a policy of its own, one token at a time. `published` has the weights by
    version; the call number `killed_at` of `generate` or `publish` ends the stage."""

    def __init__(self, checkpoint, killed_at=None):
        self.policy, self.tokenizer = load_policy(checkpoint), load_tokenizer(checkpoint)
        self.version, self.calls, self.killed_at = UNPUBLISHED, 0, killed_at
        self.published = {}
        self.asked = []

    def _called(self):
        self.calls += 1
        if self.calls == self.killed_at:
            raise Killed

    def encode(self, messages):
        text = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        return self.encode_text(text)

    def encode_text(self, text):
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @torch.no_grad()
    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        self._called()
        self.asked.append((self.version, temperature, len(prompts)))
        return [
            [self._sampled(p, temperature, max_tokens, 1000 * seed + n) for n in range(count)]
            for p, count, seed in zip(prompts, counts(samples, prompts), seeds, strict=True)
        ]

    def _sampled(self, prompt, temperature, max_tokens, seed):
        drawing = torch.Generator().manual_seed(seed)
        tokens: list[int] = []
        logprobs: list[float] = []
        while len(tokens) < max_tokens:
            logits = self.policy(input_ids=torch.tensor([prompt + tokens])).logits[0, -1]
            scores = torch.log_softmax(logits / (temperature or 1.0), -1)
            draw = torch.multinomial(scores.exp(), 1, generator=drawing) if temperature else None
            tokens.append(int(scores.argmax() if draw is None else draw))
            logprobs.append(float(scores[tokens[-1]]))
            if tokens[-1] == self.tokenizer.eos_token_id:
                break
        # As if the end were always reached: a nano of random weights hardly ever ends an answer.
        return Rollout(tokens, logprobs, self.tokenizer.decode(tokens), "stop")

    def score(self, prompts, completions, *, cached=False):
        scored = trainer_logprobs(self.policy, prompts, completions)
        return [row.tolist() for row in scored.split([len(c) for c in completions])]

    def routing(self, sequences):
        return None

    def publish(self, weights, version):
        self._called()
        own = {name: tensor.clone() for name, tensor in weights}
        self.policy.load_state_dict(own, strict=False)
        self.version = version
        self.published[version] = own

    def close(self):
        pass


class NanoRl:
    """RL stages on one start in `folder`, with `evaluate` and other settings of theirs.

    `right` says of how many of the dev prompts the policy of a version answers correctly; the
    training reward is the share of letters in the answer."""

    def __init__(self, folder, monkeypatch, right=None):
        self.folder, self.monkeypatch, self.right = folder, monkeypatch, right or {}
        self.notes = []
        tokenizer = nano_tokenizer()
        save_policy(nano_model(tokenizer, seed=3), tokenizer, folder / "base" / "checkpoint")
        (folder / "prompts").mkdir()
        write_prompts(folder / "prompts" / "prompts.parquet", [prompt_of(w, w) for w in WORDS])
        held = [prompt_of(id, id) for id in (*DEV_IDS, *FINAL_IDS)]
        write_prompts(folder / "prompts" / "held_out.parquet", held)

    def graded(self, prompt, text):
        if prompt.id in WORDS:
            return Grade(sum(c.isalpha() for c in text) / max(len(text), 1), None, text)
        assert prompt.id in DEV_IDS, "the final part is not asked"
        return Grade(float(DEV_IDS.index(prompt.id) < self.right[self.engine.version]), None, text)

    def run(self, name, evaluate=None, killed_at=None, **settings):
        """Run a stage, or go on with it, in the folder `name`: its folder and outputs."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():  # as the worker does before an attempt
            if path.name != "resume" and path.suffix != ".jsonl":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        values = {"id": "rl", "kind": "rl", "from": "base", "on": "prompts", "steps": 6}
        values |= {"learning_rate": 1e-3, "group_size": 4, "prompts_per_step": 2, "max_tokens": 3}
        values |= {"curriculum": {"kind": "uniform"}, "evaluate": evaluate, **settings}
        execution = ExecutionConfig.model_validate({"save_every": 2, "rows_per_forward": 8})
        context = stage_context(folder, seed=5, execution=execution, note=self.notes.append)
        self.monkeypatch.setattr(rl, "start_engine", self._engine(killed_at))
        self.monkeypatch.setattr(rl, "open_grader", self._grader)
        config = RlStage.model_validate(values)
        inputs = dict.fromkeys(("prompts", "held_out"), self.folder / "prompts")
        return folder, rl.run(config, {"checkpoint": self.folder / "base", **inputs}, context)

    def _engine(self, killed_at):
        def start(checkpoint, *_):
            self.engine = SampledNano(checkpoint, killed_at)
            return self.engine

        return start

    @contextmanager
    def _grader(self, context) -> Iterator[GivenGrades]:
        yield GivenGrades(self.graded)
