"""A built wheel is the whole of uphill: nothing that a package reads is left in the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from pipeline.checkout import PACKAGES
from pipeline.store.record import commit

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
SOUND = (
    "import judges.texts as t; print(*(t.template(n)[:1] for n in ('grader', 'pairwise',"
    " 'rubric')), t.__file__)"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The folder of an unpacked wheel. It is built from a copy, because building leaves files
    beside the sources."""
    place = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, place / "source" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place / "source")
    subprocess.run(
        [sys.executable, "-P", "-c", BUILD, str(place)], cwd=place / "source", check=True
    )
    with zipfile.ZipFile(next(place.glob("*.whl"))) as archive:
        archive.extractall(place / "unpacked")
    return place / "unpacked"


def of_the_wheel(wheel, folder, *words):
    """Run Python elsewhere, with the wheel's packages and not the checkout's."""
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-P", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_every_file_of_our_packages_is_in_the_wheel(wheel):
    files = [
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file()
    ]
    ours = {str(path) for path in files if "__pycache__" not in path.parts}
    assert any(not name.endswith(".py") for name in ours)
    assert sorted(name for name in ours if not (wheel / name).is_file()) == []


def test_check_and_plan_work_from_the_wheel(wheel, tmp_path):
    judge = {"kind": "rubric", "model": "smollm2-135m-instruct"}
    stages = [{"id": "filter", "kind": "judge_filter", "judges": [judge], "drop_easiest": 0.5}]
    prompts = [{"source": "reasoning_gym", "family": "chain_sum", "count": 4}]
    recipe = {"name": "small", "model": {"preset": "nano"}, "prompts": prompts, "stages": stages}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(recipe))
    for command in ("check", "plan"):
        done = of_the_wheel(wheel, tmp_path, "-m", "pipeline", command, "small.yaml")
        assert done.returncode == 0 and "filter" in done.stdout, done.stderr


def test_the_judges_have_their_questions_in_the_wheel(wheel, tmp_path):
    done = of_the_wheel(wheel, tmp_path, "-c", SOUND)
    assert done.returncode == 0 and str(wheel) in done.stdout, done.stderr


def test_a_wheel_installed_inside_somebody_elses_checkout_has_no_commit(wheel, tmp_path):
    head = commit(ROOT)
    assert head is None or len(head.removesuffix("+dirty")) == 40
    somebody = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], [*somebody, "commit", "-qm", "x", "--allow-empty"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    shutil.copytree(wheel, tmp_path / "site-packages")
    assert commit(tmp_path / "site-packages") is None
