"""How many programs a second the verifier `code` runs: `python -m benchmarks.sandbox [PROGRAMS]`.

CPU time includes all that runs in the sandboxes. It says more than the rate on a busy machine."""

import os
import sys
from time import perf_counter

from prompts.parts import CodePart
from prompts.schema import Prompt
from rewards.code.verifier import Code
from rewards.interface import Answer, Resources

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
    """Print CPU time, programs and tests per second of each kind."""
    programs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    threads = len(os.sched_getaffinity(0))
    print(f"| {threads} cores | CPU ms/program | programs/s | tests/s |\n{'| --- ' * 4}|")
    for name, (tests, answer) in KINDS.items():
        prompt = Prompt("p", [], "", "code", "code", "bench", None, {"tests": tests})
        verifier = Code().open(
            CodePart(verifier="code"), Resources(threads, note=lambda text: None)
        )
        begin, used = perf_counter(), sum(os.times()[:4])
        results = verifier.grade(prompt, [Answer(answer)] * programs)
        seconds, used = perf_counter() - begin, sum(os.times()[:4]) - used
        verifier.close()
        assert all(result.reward == 1.0 for result in results), results[0]
        per_program = 1 if "HumanEval" in name else 3
        rate = programs / seconds
        print(f"| {name} | {1000 * used / programs:.0f} | {rate:.0f} | {per_program * rate:.0f} |")


if __name__ == "__main__":
    main()
