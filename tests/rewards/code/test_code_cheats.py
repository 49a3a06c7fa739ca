"""Programs that try to pass without solving the task: none is graded right."""

import pytest

from builders.code_prompts import code_grades, outcomes

HUMAN_EVAL = {
    "test": "def check(candidate):\n assert candidate(2) == 4\n assert abs(candidate(3) - 9) < 1",
    "entry_point": "square",
}
CONTEST = {"inputs": ["2\n"], "outputs": ["4\n"]}
HONEST = "def square(n):\n    return n * n"
CHEATS = {
    "exits at once": "import sys\nsys.exit(0)",
    "exits in the function": "import os\ndef square(n):\n    os._exit(0)",
    "raises SystemExit": "def square(n):\n    raise SystemExit(0)",
    "always equal": """
class Anything(int):
    def __eq__(self, other): return True
    def __lt__(self, other): return True
    def __sub__(self, other): return self
    def __abs__(self): return self
def square(n): return Anything(7)
""",
    "always equal, not a number": """
class Anything:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __sub__(self, other): return self
    def __abs__(self): return self
    def __bool__(self): return True
def square(n): return Anything()
""",
    "no further from one number than from another": """
class Near:
    def __sub__(self, other): return 0
    def __rsub__(self, other): return 0
    def __eq__(self, other): return True
def square(n): return Near()
""",
    "prints success": "print('passed 1 1 0 0')\nprint('ready')\ndef square(n): print('OK')",
    "defines the tests": "def check(candidate): pass\n_held = _broke = lambda *a: None\n"
    "def square(n): return 0",
    "replaces built-ins": """
import builtins
builtins.abs = builtins.AssertionError = lambda *a: 0
builtins.compile = builtins.exec = lambda *a, **k: None
def square(n): return 0
""",
    "writes to every file descriptor": """
import os
for fd in range(1, 300):
    try:
        os.write(fd, b'passed 1 1 0 0\\n' * 50)
    except OSError:
        pass
def square(n): return 0
""",
    "forges replies": """
import marshal, os
data = marshal.dumps(("value", ("plain", 4), None), 2)
os.write(4, (len(data).to_bytes(8, "little") + data) * 3)
def square(n): return 0
""",
    "reads the frames below": """
import sys
def square(n):
    frame = sys._getframe()
    while frame:
        for name, value in list(frame.f_locals.items()) + list(frame.f_globals.items()):
            if name in ('record', '_held', 'code', 'tests', 'wanted') and callable(value):
                value()
        frame = frame.f_back
    return 0
""",
    "looks for the tests in memory": """
import gc
SECOND = chr(100) + 'ate('
def square(n):
    for one in gc.get_objects():
        if isinstance(one, (list, tuple, dict)) and 'candi' + SECOND in repr(one):
            return n * n
    return 0
""",
    "kills the tests": "import os\ndef square(n):\n    os.kill(-1, 9)",
    "kills the first process": "import os\ndef square(n):\n    os.kill(1, 9)\n    os.kill(1, 2)",
    "changes the tests' wire": """
import rewards.code.inside.wire as wire
wire.message = lambda value: b''
def square(n): return 0
""",
    "asks for the tests' objects": """
import marshal, os
def ask(value):
    data = marshal.dumps(value, 2)
    os.write(4, len(data).to_bytes(8, "little") + data)
def square(n):
    ask(("ask", "getattr", ("plain", ("", "__class__"))))
    ask(("ask", "call", ("list", "tuple", [("yours", 0), ("plain", ()), ("plain", {})])))
    return 0
""",
    "leaves a process behind": "import os\nif os.fork():\n    os._exit(0)\ndef square(n): return 0",
    "registers an end": "import atexit, os\natexit.register(os._exit, 0)\ndef square(n): return 0",
}


def test_the_honest_program_is_right():
    assert [one.reward for one in code_grades(HUMAN_EVAL, HONEST)] == [1.0]


@pytest.mark.parametrize("partial", [False, True])
def test_no_cheat_passes_a_test_of_a_function(partial):
    results = code_grades(HUMAN_EVAL, *CHEATS.values(), partial=partial, seconds=0.5)
    fooled = {name: one for name, one in zip(CHEATS, results, strict=True) if one.reward > 0}
    assert fooled == {}
    assert [one.fault for one in results] == [None] * len(results)


def test_no_cheat_passes_a_test_of_a_program():
    programs = [f"{program}\nsquare(2)" for program in CHEATS.values()]
    programs += ["import os\nprint(4)\nos.abort()", "print(4)\nraise KeyError", "print('4' * 2)"]
    results = code_grades(CONTEST, *programs, seconds=0.5)
    assert [one.reward for one in results] == [0.0] * len(programs)
    assert [one.fault for one in results] == [None] * len(programs)


def test_expected_outputs_never_enter_the_sandbox():
    program = """
import gc
seen = repr([one for one in gc.get_objects() if isinstance(one, (list, tuple, dict))])
wanted = str(int(input()) * 10101)
print(wanted if wanted in seen else 'not there')
"""
    (result,) = code_grades({"inputs": ["42"], "outputs": ["424242"]}, program)
    assert result.reward == 0.0 and "not there" in str(result.read)


def test_programs_know_nothing_of_each_other():
    writes = "open('/scratch/note', 'w').write('4')\nprint(4)"
    reads = "print(open('/scratch/note').read())"
    assert outcomes(code_grades(CONTEST, writes, reads)) == ["passed", "error"]
