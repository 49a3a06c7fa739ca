"""What can be said of a user's file without running it: light, for `uphill check`.

A function that only exists once the file runs, such as an imported one, is left to the process that
loads it."""

import ast
import difflib
from importlib.util import find_spec
from pathlib import Path

from common.errors import BadInput
from prompts.function_part import read_text

PARAMETERS = ("prompt", "answer")
"""What the function is called with."""
EXAMPLE = "def {}(prompt: dict, answer: str) -> float"
LARGEST = 100_000
"""Characters of a file: it goes with the prompts."""
Problem = tuple[str, str]
"""What is wrong, and the remedy."""


def file_problem(path: Path, function: str) -> Problem | None:
    """What is wrong with a user's file; None if nothing is seen."""
    if not path.is_file():
        return f"no such file: {path}", "its path is relative to the recipe's folder"
    try:
        name, text = read_text(path)
    except BadInput as error:
        return error.message, error.remedy
    return problem_of(name, text, function, path.parent)


def problem_of(name: str, text: str, function: str, folder: Path | None = None) -> Problem | None:
    """What is wrong with the text of the file `name`; `folder` is where it is."""
    if len(text) > LARGEST:
        message = f"{name} has {len(text)} characters, at most {LARGEST} are allowed"
        return message, "keep tables out of it, or install them as a package"
    try:
        tree = ast.parse(text, name)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        words = error.msg if isinstance(error, SyntaxError) else str(error)
        return f"{name}{line}: not Python: {words}", "correct the file"
    return _missing_import(name, tree, folder) or _wrong_function(name, tree, function)


def _missing_import(name: str, tree: ast.Module, folder: Path | None) -> Problem | None:
    """An import that every run of the file makes, of something that is not installed."""
    for node in tree.body:
        for module in _imported(node):
            if module and _is_installed(module):
                continue
            message = f"{name}:{node.lineno}: imports {module or 'a file beside it'!r}"
            if not module or (folder is not None and _is_beside(module, folder)):
                why = "a file beside it is no part of what the run's identity holds"
                return f"{message}: {why}", f"put what it needs into {name} itself"
            why = "which is not installed"
            return f"{message}, {why}", "install it beside uphill, or do without it"
    return None


def _imported(node: ast.stmt) -> list[str]:
    """Packages that a statement imports; an empty name for a relative import."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["" if node.level else (node.module or "").partition(".")[0]]
    return []


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # loaded already, without a spec, such as `__main__`
        return True


def _is_beside(module: str, folder: Path) -> bool:
    return (folder / f"{module}.py").is_file() or (folder / module).is_dir()


def _wrong_function(name: str, tree: ast.Module, function: str) -> Problem | None:
    remedy = f"write `{EXAMPLE.format(function)}`"
    defined = [one for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    named = [one for one in defined if one.name == function]
    others = [one for one in tree.body if one not in defined]
    if any(function in _bound(one) for one in others):
        return None
    if not named:
        if {function, "*"} & _bound(tree):
            return None
        close = difflib.get_close_matches(function, [one.name for one in defined], n=1)
        if close:
            remedy = f"did you mean `function: {close[0]}`?"
        return f"{name} defines no function {function!r}", remedy
    last = named[-1]
    if isinstance(last, ast.AsyncFunctionDef):
        return f"{name}:{last.lineno}: {function!r} is `async`, which is never awaited", remedy
    if not last.decorator_list and not _takes_two(last.args):
        shown = f"{function}({ast.unparse(last.args)})"
        return f"{name}:{last.lineno}: {shown} cannot be called with (prompt, answer)", remedy
    return None


def _bound(tree: ast.AST) -> set[str]:
    """Names that a part of the file may give a meaning; `*` stands for any name."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


def _takes_two(arguments: ast.arguments) -> bool:
    places = len(arguments.posonlyargs) + len(arguments.args)
    required = places - len(arguments.defaults)
    keywords = any(default is None for default in arguments.kw_defaults)
    return required <= 2 and (places >= 2 or arguments.vararg is not None) and not keywords
