"""The program in an answer. Model code is parsed here, with `ast`, and never run."""

import ast
import re
import textwrap
from dataclasses import dataclass

PYTHON = {"python", "py", "python3", "py3"}
_FENCE = re.compile(r"^[ \t]*(?:[-*+>]|\d+\.)?[ \t]*(`{3,}|~{3,})[ \t]*([^`\n]*)$")
_WORD = re.compile(r"[a-z0-9+#]+")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of an answer."""

    language: str
    """First word behind the fence in lower case; empty: none."""
    code: str


def program_of(answer: str, names: frozenset[str] = frozenset(), prelude: str = "") -> str | None:
    """The program in an answer; None: there is none. Of the blocks in Python's name the last one
    that defines one of `names`, or else the last one; without such blocks the same of blocks
    without a language; without blocks the whole text, if it is Python. `prelude` is code that the
    answer may continue."""
    found = blocks(answer)
    if found:
        code = _chosen([one.code for one in found if one.language in PYTHON], names)
        if code is None:
            plain = [one.code for one in found if not one.language]
            # A plain block may also be an example of input: it has to look like a program.
            code = _chosen([one for one in plain if _is_code(one, names, prelude)], names)
    else:
        code = answer if _is_code(answer, names, prelude) else None
    return None if code is None else _completed(code, names, prelude)


def parsed(code: str) -> ast.Module | None:
    """The syntax tree; None: not Python."""
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def blocks(answer: str) -> list[Block]:
    """The fenced blocks. One that is not closed goes to the end."""
    found, inside, fence, language = [], list[str](), "", ""
    for line in answer.splitlines():
        match = _FENCE.match(line)
        if match is None or (fence and not _closes(match, fence)):
            inside.append(line)
        elif fence:
            found.append(Block(language, _dedented(inside)))
            fence = ""
        else:
            word = _WORD.search(match[2].lower())
            fence, language, inside = match[1], word[0] if word else "", []
    return [*found, Block(language, _dedented(inside))] if fence else found


def defined(tree: ast.Module) -> set[str]:
    """The names that a program defines at its top level, and the methods of its `Solution`."""
    names = set[str]()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ClassDef) and node.name == "Solution":
            names |= {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
    return names


def _closes(match: re.Match[str], fence: str) -> bool:
    return match[1][0] == fence[0] and len(match[1]) >= len(fence) and not match[2].strip()


def _dedented(lines: list[str]) -> str:
    """The lines; where the first one is indented, as in a list, without its indent, unless the code
    is a function's body to be continued (`_completed` sees to that)."""
    return textwrap.dedent("\n".join(lines)) + "\n"


def _chosen(codes: list[str], names: frozenset[str]) -> str | None:
    for code in reversed(codes):
        tree = parsed(code)
        if tree is not None and names & defined(tree):
            return code
    return codes[-1] if codes else None


def _is_code(text: str, names: frozenset[str], prelude: str) -> bool:
    """Whether a text without a mark of its language is a program rather than words or data."""
    tree = parsed(text)
    if tree is not None and any(not _is_value(node) for node in tree.body):
        return True
    return bool(prelude and names) and parsed(_continued(text, prelude)) is not None


def _is_value(node: ast.stmt) -> bool:
    """A name, number, text or the like alone, as a word of prose or a line of data is."""
    return isinstance(node, ast.Expr) and not any(
        isinstance(one, ast.Call) for one in ast.walk(node)
    )


def _completed(code: str, names: frozenset[str], prelude: str) -> str:
    """The program with the prelude before it. Where the code lacks the function, it is the body
    that the prelude's signature waits for."""
    if not prelude:
        return code
    tree = parsed(code)
    if tree is None or not names & defined(tree):
        continued = _continued(code, prelude)
        return continued if parsed(continued) is not None else code
    if "from __future__" in code:  # it has to come first
        return code
    for before in (prelude, f"{prelude.rstrip()}\n    pass\n"):
        if parsed(before) is not None:
            return f"{before.rstrip()}\n\n\n{code}"
    return code


def _continued(code: str, prelude: str) -> str:
    """The prelude with the code as the body of its last function. As texts are often stripped, the
    first line or all lines may have lost their indent."""
    body = code.strip("\n")
    ways = [body, f"    {body}", textwrap.indent(body, "    ")]
    if any(not line[0].isspace() for line in body.splitlines()[1:] if line):
        ways = ways[2:]
    elif not body[:1].isspace():
        ways = ways[1:]
    programs = [f"{prelude.rstrip()}\n{way}\n" for way in ways]
    return next((one for one in programs if parsed(one) is not None), programs[-1])
