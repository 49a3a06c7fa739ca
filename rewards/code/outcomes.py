"""What can become of a program, and of one test of it."""

from dataclasses import dataclass

PASSED = "passed"
OUTCOMES = {
    PASSED: "every test passed",
    "wrong": "a test got another result than it expects",
    "error": "the program raised, or exited with an error",
    "timeout": "it used more CPU time than `seconds`, or four times that by the clock",
    "memory": "it needed more memory than `memory_mib`",
    "output": "it printed or wrote more than `output_kib` or `scratch_mib`",
    "processes": "it started more processes or threads than `processes`",
    "denied": "it tried to use what the sandbox refuses",
    "crash": "it was ended by a signal",
    "ended": "it ended while its functions were being tested",
    "missing": "it lacks a function that the tests call",
    "syntax": "it is not valid Python",
    "no_code": "the answer has no program",
}
"""Every outcome of an answer, in words. The first test that does not pass decides it."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of one test."""

    outcome: str
    passed: int = 0
    """Checks that passed; of a script 0, as its output is compared outside the sandbox."""
    total: int = 1
    """Checks that there are."""
    output: bytes = b""
    """What a script printed."""
    text: str = ""
    """What went wrong, for people."""
