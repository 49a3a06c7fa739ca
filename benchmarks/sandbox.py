"""How many programs a second the verifier `code` runs: `python -m benchmarks.sandbox`."""

import os
from time import perf_counter

from prompts.parts import CodePart
from prompts.schema import Prompt
from rewards.code.verifier import Code
from rewards.interface import Answer, Resources

PROGRAMS = 400
MBPP = [f"assert add({a}, 2) == {a + 2}" for a in range(3)]
HUMAN_EVAL = {
    "test": "def check(candidate):\n for a in range(100):\n  assert candidate(a, 2) == a + 2",
    "entry_point": "add",
}
CONTEST = {"inputs": [f"{a} 2\n" for a in range(3)], "outputs": [f"{a + 2}\n" for a in range(3)]}
FUNCTION = "```python\ndef add(a, b):\n    return a + b\n```"
SCRIPT = "```python\nprint(sum(map(int, input().split())))\n```"
KINDS = {
    "MBPP, 3 tests": (MBPP, FUNCTION),
    "HumanEval, 1 test of 100 calls": (HUMAN_EVAL, FUNCTION),
    "contest, 3 tests": (CONTEST, SCRIPT),
}


def main() -> None:
    """Print programs and tests per second of each kind."""
    threads = len(os.sched_getaffinity(0))
    print(f"| {threads} cores | programs/s | tests/s |\n| --- | --- | --- |")
    for name, (tests, answer) in KINDS.items():
        prompt = Prompt("p", [], "", "code", "code", "bench", None, {"tests": tests})
        verifier = Code().open(CodePart(verifier="code"), Resources(threads))
        begin = perf_counter()
        results = verifier.grade(prompt, [Answer(answer)] * PROGRAMS)
        seconds = perf_counter() - begin
        verifier.close()
        assert all(result.reward == 1.0 for result in results), results[0]
        per_program = 1 if "HumanEval" in name else 3
        rate = PROGRAMS / seconds
        print(f"| {name} | {rate:.0f} | {per_program * rate:.0f} |")


if __name__ == "__main__":
    main()
