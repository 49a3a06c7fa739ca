"""Fixtures of several test files."""

import json
from pathlib import Path

import pytest
import toy_runs


@pytest.fixture
def toy(tmp_path, capfd, monkeypatch):
    """Runs toy stages in `tmp_path`, each in a process of its own; gives the exit code and what was on stderr."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    def run(specs, *options):
        code = toy_runs.main([str(tmp_path), json.dumps(specs), *options])
        return code, capfd.readouterr().err

    return run
