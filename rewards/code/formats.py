"""The tests of a prompt, as `metadata["tests"]` gives them: of functions as HumanEval and MBPP have
them, or inputs and outputs as programming contests have them."""

import ast
import builtins
import json
import keyword
import sys
from dataclasses import dataclass
from typing import Any

from prompts.schema import Prompt
from rewards.code.recorded import assertions, recorded
from rewards.interface import BadPrompt

EXAMPLES = (
    'give the prompt tests in metadata, such as {"tests": {"test_list": ["assert add(1, 2) == 3"]}}'
    ', {"tests": {"test": "def check(candidate): ...", "entry_point": "add"}} or'
    ' {"tests": {"inputs": ["1 2\\n"], "outputs": ["3\\n"]}}'
)


@dataclass(frozen=True, slots=True)
class FunctionTests:
    """Tests that call the program's functions."""

    units: tuple[tuple[Any, ...], ...]
    """What `inside.tester` reads: compiled code, names it wants of the program, the function under
    test (None: whichever the code calls), the number of assertions in its text."""
    names: frozenset[str]
    """Functions that the program must define."""
    prelude: str = ""
    """Code that an answer may continue, as HumanEval's prompts; empty: none."""


@dataclass(frozen=True, slots=True)
class ScriptTests:
    """Texts for standard input, and what is to be printed."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


Tests = FunctionTests | ScriptTests


def read_tests(prompt: Prompt) -> Tests:
    """The tests of a prompt. BadPrompt, with examples, where it has none that can be used."""
    tests = prompt.metadata.get("tests")
    if isinstance(tests, str):
        try:
            tests = json.loads(tests)
        except ValueError as error:
            raise _unusable(f"are a text that is not JSON: {error}") from error
    if isinstance(tests, list):
        tests = {"test_list": tests}
    if not isinstance(tests, dict) or not tests:
        raise _unusable(f"are missing: `metadata.tests` is {tests!r:.80}")
    if "test_list" in tests:
        return _mbpp(tests)
    if "test" in tests:
        return _human_eval(tests)
    if "inputs" in tests and not tests.get("fn_name"):
        return _contest(tests)
    raise _unusable(f"are of no known format: they have {', '.join(map(repr, tests))}")


def _unusable(reason: str) -> BadPrompt:
    return BadPrompt(f"has no usable tests: they {reason}", EXAMPLES)


def _human_eval(tests: dict[str, Any]) -> FunctionTests:
    code, entry = tests["test"], tests.get("entry_point")
    if not (isinstance(entry, str) and entry.isidentifier() and not keyword.iskeyword(entry)):
        raise _unusable(f"need `entry_point`, the name of the function, and have {entry!r:.80}")
    tree = _parsed(code, "test")
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "check" not in functions:
        raise _unusable("define no function `check(candidate)` in `test`")
    call = ast.parse(f"check({entry})").body
    prelude = tests.get("prompt") or ""
    if not isinstance(prelude, str):
        raise _unusable(f"have a `prompt` that is no text: {prelude!r:.80}")
    unit = _unit(ast.Module([*tree.body, *call], []), entry, {entry})
    return FunctionTests((unit,), frozenset({entry}), prelude)


def _mbpp(tests: dict[str, Any]) -> FunctionTests:
    asserts, imports = tests["test_list"], tests.get("test_imports") or []
    if not isinstance(asserts, list) or not asserts:
        raise _unusable("have an empty `test_list`")
    setup = [imports] if isinstance(imports, str) else list(imports)
    setup.append(tests.get("test_setup_code") or "")
    before = [node for text in setup for node in _parsed(text, "test_setup_code").body]
    trees = [_parsed(text, "test_list") for text in asserts]
    for text, tree in zip(asserts, trees, strict=True):
        if not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
            raise _unusable(f"have an entry in `test_list` without an assert: {text!r:.80}")
    wholes = [ast.Module([*before, *tree.body], []) for tree in trees]
    called = [_called(tree) for tree in trees]
    names = set[str]().union(*called) & set[str]().union(*(_wanted(one)[0] for one in wholes))
    # Where they call Python's functions only, the one that each of them calls is to be defined.
    names = names or set[str].intersection(*called)
    if not names:
        raise _unusable("call no function of the program's in `test_list`")
    return FunctionTests(tuple(_unit(one, None, names) for one in wholes), frozenset(names))


def _contest(tests: dict[str, Any]) -> ScriptTests:
    texts = {}
    for field in ("inputs", "outputs"):
        values = tests.get(field)
        if not isinstance(values, list) or not values:
            raise _unusable(f"need `{field}`, a list of texts, and have {values!r:.80}")
        texts[field] = tuple(_text(value, field) for value in values)
    counts = {field: len(values) for field, values in texts.items()}
    if counts["inputs"] != counts["outputs"]:
        raise _unusable(f"have {counts['inputs']} inputs and {counts['outputs']} outputs")
    return ScriptTests(texts["inputs"], texts["outputs"])


def _text(value: Any, field: str) -> str:
    """A text, or lines that are joined."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(line.rstrip("\n") for line in value) + "\n"
    if not isinstance(value, str):
        raise _unusable(f"have in `{field}` a value that is no text: {value!r:.80}")
    return value


def _parsed(code: Any, field: str) -> ast.Module:
    if not isinstance(code, str):
        raise _unusable(f"have in `{field}` a value that is no text: {code!r:.80}")
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError) as error:
        raise _unusable(f"have in `{field}` what is not Python ({error}): {code!r:.80}") from error


def _unit(tree: ast.Module, entry: str | None, names: set[str]) -> tuple[Any, ...]:
    """`names` are the program's even where Python has them too. MBPP asks for a `sum`."""
    wanted, modules = _wanted(tree)
    wanted = sorted(names.union(wanted))
    imports = ast.parse("\n".join(f"import {name}" for name in modules)).body
    whole = recorded(ast.Module([*imports, *tree.body], []))
    try:
        code = compile(whole, "tests", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:  # such as `return` outside of a function
        raise _unusable(f"are not Python ({error}): {ast.unparse(tree)!r:.80}") from error
    return code, wanted, entry, assertions(tree)


def _wanted(tree: ast.Module) -> tuple[list[str], list[str]]:
    """The names that the tests use and neither define nor find in Python, so the program's; and the
    modules that they use without importing them. Modules and built-in functions are never the
    program's, which could otherwise decide a test by them."""
    loads, bound, bases = set[str](), set(dir(builtins)), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (loads if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(one.asname or one.name).partition(".")[0] for one in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            bases.add(node.value.id)
    free = loads - bound
    modules = free & bases & set(sys.stdlib_module_names)
    return sorted(free - modules), sorted(modules)


def _called(tree: ast.Module) -> set[str]:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {function.id for function in calls if isinstance(function, ast.Name)}
