"""Probes of an SFT with `stop_when`: publish, prove, ask, keep the best weights, end.

A probe comes after the optimiser and before the step is logged and saved, so a checkpoint has the
probes up to its step, and the best weights among them. What the probes measured is in
`probes.jsonl`, which is all the memory there is: it is cut back with the other logs when a stage
resumes. Every answer has a seed of its own, the same at each probe: probes change nothing of what
is trained, and the figures of two probes differ by the policy alone."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from common.artifacts import CHECKPOINT, PROBES
from common.errors import BadInput
from common.seeds import derive
from common.stage import Inputs, StageContext
from evals.asking import Sampling, ask_all, encoded_chat
from evals.corners import graded_prompts, is_graded
from evals.protocol import answers_of, remarks
from prompts.schema import Prompt
from rewards.grader import Grader
from rollouts.config import DRIFT_TOLERANCE, PARITY_TOLERANCE
from rollouts.interface import RolloutEngine
from rollouts.start import start_engine
from stages.dev_part import HELD_OUT_INPUT
from stages.dev_prompts import dev_prompts, finite
from stages.grading import open_grader
from stages.sft.config import SftStage
from stages.sft.probe_figures import figures
from stages.sft.stop_when import StopWhen
from stages.sft.stopping import EPOCHS, Measured, best, ended_by
from training import processes
from training.best import BestWeights
from training.publish import PARITY_PROBES, Probe, parity_probe, prove, publish, tolerance_of

BATCHES = 2
"""Answers per call of the engine, in multiples of the sequences that it decodes together."""
LOGGED = ("pass_at_k", "pass_at_1", "entropy", "format")
"""Figures of a probe in the step's line of `metrics.jsonl`, with `probe/` before, and in the
record, with `kept_` before."""


class Prober:
    """Asks the dev part, in process 0."""

    def __init__(
        self,
        settings: StopWhen,
        prompts: Sequence[Prompt],
        engine: RolloutEngine,
        grader: Grader,
        context: StageContext,
    ) -> None:
        self.settings, self.suite = settings, settings.as_suite()
        self.prompts, self.engine, self.grader, self.context = prompts, engine, grader, context
        self.sampling = Sampling(
            settings.samples, 1.0, lambda prompt: derive(context.seed, "probe", prompt.id)
        )

    def measure(self, step: int, steps: int, tell: bool) -> dict[str, Any]:
        """The figures of the policy that the engine holds. With `tell` a person is told which
        prompts could not be asked or graded."""
        at_once = BATCHES * self.context.execution.max_num_seqs
        asked = ask_all(
            self.engine,
            self.prompts,
            self.suite.answer_length(),
            max(1, at_once // self.settings.samples),
            lambda count: self.context.progress(step, steps, unit="step"),
            self.grader,
            self.sampling,
            graded=partial(is_graded, self.suite.name),
        )
        if tell:
            first = [of[0] for of in answers_of(self.suite, asked, self.sampling.samples)]
            for remark in remarks(self.suite, first, self.engine.max_model_len):
                self.context.note(f"stop_when: {remark}")
        return figures(asked, self.settings)

    def parity_probe(self) -> Probe:
        """A few of the prompts with their reference answers."""
        length, room = self.suite.answer_length(), self.engine.max_model_len
        encoded = ((encoded_chat(self.engine, prompt), prompt) for prompt in self.prompts)
        texts = [
            (ids, prompt.answer or prompt.task)
            for ids, prompt in encoded
            if ids and len(ids) + length <= room
        ]
        if not texts:
            raise BadInput(
                f"stop_when: not one of {len(self.prompts)} prompts of {self.suite.name} can be"
                f" asked for answers of {length} tokens",
                "raise stop_when.rollouts.max_model_len, or lower stop_when.max_tokens",
            )
        return parity_probe(self.engine, self.settings.rollouts, texts[:PARITY_PROBES], length)


class Probes:
    """The probes of a stage; every process has one, process 0 also a prober, unless SFT has ended
    already."""

    def __init__(
        self, settings: StopWhen, context: StageContext, prober: Prober | None, start: Path | None
    ) -> None:
        self.settings, self.context, self.prober = settings, context, prober
        self.rows = processes.broadcast(context, PROBES.read(context.folder))
        self.best = BestWeights(context, start)
        self.probe = processes.broadcast(
            context, prober.parity_probe() if prober else Probe([], [])
        )
        self.tolerance = tolerance_of(
            settings.rollouts, PARITY_TOLERANCE, DRIFT_TOLERANCE, self.rows
        )

    @property
    def ended(self) -> str | None:
        """Why SFT has ended; None if it has not."""
        return self.rows[-1]["ended"] if self.rows else None

    def after_step(
        self, step: int, steps: int, figures: Mapping[str, float], policy: Any, tokenizer: Any
    ) -> dict[str, float]:
        """Probe after optimiser step `step` of at most `steps`, if it is due; the figures to log.
        `figures` are those of the step. All processes call it."""
        due = self.settings.due(step, steps)
        if due and processes.broadcast(self.context, finite(dict(figures))):
            began = time.perf_counter()
            self._probe(step, steps, policy, tokenizer)
            # Not among the metrics, which are the same in every attempt.
            print(f"the probe of step {step} took {time.perf_counter() - began:.1f} s", flush=True)
        last = self.rows[-1] if self.rows and self.rows[-1]["step"] == step else {}
        shown = {f"probe/{name}": last[name] for name in LOGGED if last.get(name) is not None}
        return {**shown, "tokens_generated_total": self.tokens}

    def _probe(self, step: int, steps: int, policy: Any, tokenizer: Any) -> None:
        engine = self.prober.engine if self.prober else None
        publish(engine, policy, step)
        gaps = prove(self.context, engine, policy, self.probe, self.tolerance, step)
        row: dict[str, Any] = {}
        if self.prober is not None:
            measured = self.prober.measure(step, steps, tell=not self.rows)
            row = self._judged({"step": step, "suite": self.settings.name, **measured, **gaps})
            row["ended"] = row["ended"] or (EPOCHS if step == steps else None)
            PROBES.append(self.context.folder, row)
        self.rows.append(processes.broadcast(self.context, row))
        # The last step's weights are saved as the stage's own.
        if self.rows[-1]["best"] and not self.ended:
            self.best.keep(policy, tokenizer)

    def _judged(self, row: dict[str, Any]) -> dict[str, Any]:
        measured = [_measured(one) for one in (*self.rows, row)]
        chosen = best(measured, self.settings)
        is_best = chosen is not None and chosen.step == row["step"]
        return {**row, "best": is_best, "ended": ended_by(measured, self.settings)}

    @property
    def tokens(self) -> int:
        """Tokens of all answers so far."""
        return sum(row["tokens"] for row in self.rows)

    def place_best(self) -> bool:
        """Make the best weights the stage's checkpoint; False where the last ones are it. All
        processes call it."""
        chosen = best([_measured(row) for row in self.rows], self.settings)
        if chosen is None and self.context.main:
            highest = max((row["format"] or 0.0 for row in self.rows), default=0.0)
            self.context.note(
                f"stop_when: no probe had a format validity of {self.settings.format:g} (the"
                f" highest was {highest:.2f}), so the last step's weights are kept"
            )
        if chosen is None or chosen.step == self.rows[-1]["step"]:
            return False
        self.best.place()
        return True

    def recorded(self) -> dict[str, Any]:
        """What the stage's record says: why SFT ended, and which step was kept with what it
        measured."""
        chosen = best([_measured(row) for row in self.rows], self.settings)
        kept = next((r for r in self.rows if chosen and r["step"] == chosen.step), self.rows[-1])
        names = [name for name in ("step", *LOGGED) if kept[name] is not None]
        return {"ended": self.ended, **{f"kept_{name}": kept[name] for name in names}}


def _measured(row: Mapping[str, Any]) -> Measured:
    return Measured(row["step"], row["pass_at_k"], row["entropy"], row["format"])


@contextmanager
def probes_of(
    config: SftStage, inputs: Inputs, context: StageContext, start: Path | None
) -> Iterator[Probes | None]:
    """The probes that `stop_when` asks for, with an engine in process 0; None where it asks for
    none. `start` is the checkpoint that the stage goes on from."""
    if config.stop_when is None:
        yield None
        return
    with ExitStack() as open_ones:
        prober, rows = None, PROBES.read(context.folder)
        if context.main and not (rows and rows[-1]["ended"]):
            grader = open_ones.enter_context(open_grader(context))
            prompts = dev_prompts(config.stop_when, "stop_when", inputs.get(HELD_OUT_INPUT))
            grader.prepare(graded_prompts(config.stop_when.name, prompts))
            checkpoint, rollouts = CHECKPOINT.path(inputs["checkpoint"]), config.stop_when.rollouts
            engine = start_engine(checkpoint, rollouts, derive(context.seed, "engine"), context)
            open_ones.callback(engine.close)
            prober = Prober(config.stop_when, prompts, engine, grader, context)
        yield Probes(config.stop_when, context, prober, start)
