"""The verifier `code`: runs the program of an answer against the prompt's tests, in a sandbox."""

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from common.faults import counted
from prompts.part import RewardPart
from prompts.parts import CodePart
from prompts.schema import Prompt
from rewards.code.command import Limits
from rewards.code.compare import same_output
from rewards.code.extract import parsed, program_of
from rewards.code.formats import FunctionTests, ScriptTests, Tests, read_tests
from rewards.code.outcomes import OUTCOMES, PASSED, Ran
from rewards.code.sandbox import Sandbox, SandboxBroken, require_sandbox
from rewards.interface import Answer, BadReference, OpenVerifier, Resources, Result, Verifier

STOPS = 3
"""Tests of one program that may exceed their time; the rest then counts as not passed."""
PER_CORE = 2
"""Sandboxes at once for each core: half of the time one waits for the kernel to make it."""
KIB, MIB = 1 << 10, 1 << 20
_log = logging.getLogger(__name__)


class Code(Verifier):
    """Starts nothing until it is opened."""

    slow = True

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        tests = read_tests(prompt)
        if not prompt.answer.strip():
            return
        program = _program(prompt.answer, tests)
        if program is None or parsed(program) is None:
            what = "holds no program" if program is None else "is not valid Python"
            raise BadReference(
                f"is a solution that {what}",
                "correct the solution, or leave the answer empty: tests are enough",
            )

    def require(self, part: RewardPart) -> None:
        require_sandbox()

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        assert isinstance(part, CodePart)
        require_sandbox()
        return OpenCode(part, resources)


@dataclass
class Verdict:
    """What the tests of one program found."""

    tests: int
    """Tests that there are."""
    shares: list[float] = field(default_factory=list)
    """Share of its checks that passed, of each test that was run."""
    outcome: str = PASSED
    """Of the first test that did not pass."""
    text: str = ""

    def add(self, ran: Ran) -> None:
        """Count a test."""
        passed = ran.outcome == PASSED
        self.shares.append(1.0 if passed else min(ran.passed / max(ran.total, 1), 1.0))
        if not passed and self.outcome == PASSED:
            self.outcome, self.text = ran.outcome, ran.text

    @property
    def share(self) -> float:
        """Share of the tests that passed; 1 only where all did."""
        return 1.0 if self.outcome == PASSED else min(sum(self.shares) / self.tests, 0.999)

    def result(self, partial: bool) -> Result:
        """The reward."""
        full = self.outcome == PASSED
        reward = self.share if partial else float(full)
        text = f": {' '.join(self.text.split())[-200:]}" if self.text.strip() else ""
        read = PASSED if full else f"{self.outcome}{text}"
        rates = {outcome: float(outcome == self.outcome) for outcome in OUTCOMES}
        return Result(reward, read, checks={"tests": self.share, **rates})


class OpenCode(OpenVerifier):
    """Grades in a pool of threads, each with at most one sandbox at a time."""

    def __init__(self, part: CodePart, resources: Resources) -> None:
        self._part, self._note = part, resources.note
        self._counts, self._counting = Counter[str](), Lock()
        self._limits = Limits(
            seconds=part.seconds,
            memory=part.memory_mib * MIB,
            processes=part.processes,
            output=part.output_kib * KIB,
            scratch=part.scratch_mib * MIB,
        )
        workers = PER_CORE * max(1, resources.threads)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        tests = read_tests(prompt)
        return list(self._pool.map(lambda answer: self._one(tests, answer, prompt.named), answers))

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._counts:
            self._note(f"{self._part.label}: {counted(self._counts)}")

    def _count(self, outcome: str) -> None:
        with self._counting:
            self._counts[outcome] += 1

    def _one(self, tests: Tests, answer: Answer, named: str) -> Result:
        program = _program(answer.text, tests)
        try:
            verdict = self._verdict(tests, program)
        except SandboxBroken as error:
            _log.warning("the sandbox broke on an answer to %s: %s", named, error)
            self._count("sandbox")
            return Result(fault="sandbox")
        self._count(verdict.outcome)
        return verdict.result(self._part.partial)

    def _verdict(self, tests: Tests, program: str | None) -> Verdict:
        kind = "functions" if isinstance(tests, FunctionTests) else "script"
        units: Sequence[Any] = (
            tests.units
            if isinstance(tests, FunctionTests)
            else [text.encode(errors="replace") for text in tests.inputs]
        )
        verdict = Verdict(len(units))
        if program is None or parsed(program) is None:
            verdict.outcome = "no_code" if program is None else "syntax"
            return verdict
        sandbox: Sandbox | None = None
        stopped = 0
        try:
            for number, unit in enumerate(units):
                if sandbox is None or sandbox.closed:
                    sandbox = Sandbox(kind, program, self._limits)
                ran = _compared(sandbox.run(unit), tests, number)
                verdict.add(ran)
                stopped += ran.outcome in ("timeout", "processes")
                if ran.outcome != PASSED and (not self._part.partial or stopped >= STOPS):
                    break
        finally:
            if sandbox is not None:
                sandbox.close()
        return verdict


def _program(answer: str, tests: Tests) -> str | None:
    if isinstance(tests, FunctionTests):
        return program_of(answer, tests.names, tests.prelude)
    return program_of(answer)


def _compared(ran: Ran, tests: Tests, number: int) -> Ran:
    """A script's result, once its output is compared."""
    if ran.outcome != PASSED or not isinstance(tests, ScriptTests):
        return ran
    printed = ran.output.decode(errors="replace")
    if same_output(printed, tests.outputs[number]):
        return ran
    return Ran("wrong", text=f"printed {printed[:80]!r}, not {tests.outputs[number][:80]!r}")
