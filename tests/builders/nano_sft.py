"""An SFT stage with `stop_when` in this process: the nano model, and an engine that samples from a
copy of it. What is correct and well formed is scripted by step."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from builders.contexts import stage_context
from builders.given_grades import GivenGrades
from builders.learnable import prompt_inputs
from builders.nano_rl import DEV_IDS, FINAL_IDS, SampledNano
from builders.single_prompts import prompt_of
from common.execution import ExecutionConfig
from prompts.schema import write_prompts
from rewards.grader import Grade
from stages.sft import probes
from stages.sft.config import SftStage
from stages.sft.run import run

PROMPTS = 10
"""In batches of 4: an epoch has three steps, so that probes are within epochs too."""
STOP = {"every": 2, "samples": 2, "k": 1, "max_tokens": 2}


class NanoSft:
    """SFT stages on one start in `folder`.

    `right` says of how many of the dev prompts the policy of a step answers correctly, and
    `formless` at which steps the verifier reads nothing."""

    def __init__(self, folder, monkeypatch, right=None, formless=()):
        self.folder, self.monkeypatch = folder, monkeypatch
        self.right, self.formless = right or {}, formless
        self.notes, self.engines = [], []
        self.inputs = prompt_inputs(folder / "inputs", PROMPTS)
        held = [prompt_of(id, id) for id in (*DEV_IDS, *FINAL_IDS)]
        write_prompts(folder / "inputs" / "held_out.parquet", held)

    @property
    def engine(self):
        """The engine that was started last."""
        return self.engines[-1]

    def graded(self, prompt, text):
        assert prompt.id in DEV_IDS, "the final part is not asked"
        step = self.engine.version
        right = DEV_IDS.index(prompt.id) < self.right.get(step, 0)
        return Grade(float(right), None, "" if step in self.formless else "read")

    def run(self, name, stop_when, killed_at=None, **settings):
        """Run a stage, or go on with it, in the folder `name`: its folder and outputs."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():  # as the worker does before an attempt
            if path.name != "resume" and path.suffix != ".jsonl":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        values = {"id": "sft", "kind": "sft", "on": "prompts", "train": "full", "batch_size": 4}
        values |= {"epochs": 4, "learning_rate": 1e-3, "stop_when": stop_when, **settings}
        execution = ExecutionConfig.model_validate({"save_every": 3, "rows_per_forward": 8})
        context = stage_context(folder, seed=5, execution=execution, note=self.notes.append)
        self.monkeypatch.setattr(probes, "start_engine", self._engine(killed_at))
        self.monkeypatch.setattr(probes, "open_grader", self._grader)
        inputs = {**self.inputs, "held_out": self.folder / "inputs"}
        return folder, run(SftStage.model_validate(values), inputs, context)

    def _engine(self, killed_at):
        def start(checkpoint, *_):
            self.engines.append(SampledNano(checkpoint, killed_at))
            return self.engine

        return start

    @contextmanager
    def _grader(self, context) -> Iterator[GivenGrades]:
        yield GivenGrades(self.graded)
