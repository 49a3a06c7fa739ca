"""Fixtures of several test files; and who runs what, and where, when several processes share the
files."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings

from builders import toy_runs
from builders.adopted_stages import adopting, run_one  # noqa: F401
from builders.command_line import answered, folder, uphill  # noqa: F401
from builders.judge_fixtures import impatient_client, own_verdict_cache  # noqa: F401
from builders.recipe_texts import recipe  # noqa: F401

# How long an example takes says nothing on a machine that does other work too.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
SLOWEST = ("test_nano_pipeline", "test_fuzz_runs", "test_served_judge", "test_served")
"""Files that begin first, so that none of them is what everything waits for in the end."""


def pytest_configure():
    """Give each of the processes cores of its own: torch and vLLM take all that they find, and lose
    by sharing them."""
    worker, count = (
        os.environ.get("PYTEST_XDIST_WORKER"),
        int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
    )
    cores = sorted(os.sched_getaffinity(0))
    if worker and len(cores) >= count:
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) % count :: count])


def pytest_collection_modifyitems(items):
    place = {name: number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.fixture
def toy(tmp_path, capfd, monkeypatch):
    """Runs toy stages in `tmp_path`, each in a process of its own; gives the exit code and what was
    on stderr."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    def run(specs, *options):
        code = toy_runs.main([str(tmp_path), json.dumps(specs), *options])
        return code, capfd.readouterr().err

    return run
