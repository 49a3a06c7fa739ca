"""There is one engine interface: the engine has it whole, and no package makes another."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from builders.engine_double import EngineDouble
from evals.remembered import RememberedEngine
from pipeline.checkout import PACKAGES
from rollouts.engine import Engine
from rollouts.interface import AnsweringEngine, RolloutEngine

ROOT = Path(__file__).parents[2]
MEMBERS = {
    *("max_model_len", "version"),
    *("encode", "encode_text", "generate", "score", "next_token", "routing", "publish", "close"),
}


ANSWERING = {"max_model_len", "encode", "encode_text", "generate", "score", "close"}
"""What evaluations need, which an engine with a memory has too."""


def public(*kinds):
    return {name for kind in kinds for name in vars(kind) if not name.startswith("_")}


def member(kind, name):
    return inspect.getattr_static(kind, name)


def signature(kind, name):
    """The signature of a method, or of a property's getter, with its annotations evaluated."""
    found = member(kind, name)
    function: Any = found.fget if isinstance(found, property) else found
    return inspect.signature(function, eval_str=True, locals={"Tensor": Tensor})


def test_the_engine_has_the_members_of_the_interface_and_no_others():
    whole = public(AnsweringEngine, RolloutEngine)
    assert whole == public(Engine) == public(EngineDouble) == MEMBERS
    assert public(AnsweringEngine) == public(RememberedEngine) == ANSWERING


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_a_member_of_the_engine_has_the_signature_of_the_interface(name):
    for kind in (Engine, RememberedEngine) if name in ANSWERING else (Engine,):
        assert type(member(kind, name)) is type(member(RolloutEngine, name))
        assert signature(kind, name) == signature(RolloutEngine, name)


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_every_member_of_the_interface_says_what_it_does(name):
    assert member(RolloutEngine, name).__doc__


def test_the_interface_loads_neither_torch_nor_vllm():
    program = (
        "import sys, rollouts.interface; print(sorted({'torch', 'vllm'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def elsewhere():
    """Every module of the packages outside rollouts/, as (path from the root, parsed source)."""
    for package in sorted({*PACKAGES} - {"rollouts"}):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text())


def protocols_of_an_engine(tree):
    """Names of the protocols in a module that have a method `generate`."""
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).split("[")[0].endswith("Protocol") for base in node.bases)
        and any(getattr(member, "name", None) == "generate" for member in node.body)
    ]


def untyped_engines(tree):
    """Lines of a module where a parameter or a field `engine` is Any or has no type."""
    nodes = list(ast.walk(tree))
    parameters = [node for node in nodes if isinstance(node, ast.arg) and node.arg == "engine"]
    fields = [
        node
        for node in nodes
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target).endswith("engine")
    ]
    types = [(node.lineno, node.annotation) for node in parameters]
    types += [(node.lineno, node.annotation) for node in fields]
    return [line for line, kind in types if kind is None or "Any" in ast.unparse(kind)]


def test_the_search_finds_what_it_looks_for():
    tree = ast.parse(
        "class Sampler(Protocol):\n    def generate(self, prompts): ...\n"
        "def f(engine: Any): ...\ndef g(engine): ...\ndef h(engine: RolloutEngine): ...\n"
    )
    assert protocols_of_an_engine(tree) == ["Sampler"] and untyped_engines(tree) == [3, 4]


def test_no_other_package_declares_an_engine_or_takes_an_untyped_one():
    trees = dict(elsewhere())
    assert {path: names for path in trees if (names := protocols_of_an_engine(trees[path]))} == {}
    assert {path: lines for path in trees if (lines := untyped_engines(trees[path]))} == {}
