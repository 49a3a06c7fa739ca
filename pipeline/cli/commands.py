"""Runs what the command line asks for; every way it can end is an exit code."""

import sys
import traceback
from typing import Any

from common.errors import UphillError
from pipeline.cli import recipe_commands, run_commands
from pipeline.cli.app import app
from pipeline.cli.output import print_json
from pipeline.execution.faults import DISK, disk_fault
from pipeline.execution.progress import Reporter

COMMANDS = (recipe_commands, run_commands)
"""Imported for what they add to the application."""


def run_command() -> int:
    """Run what the command line asks for; every way it can end, as an exit code."""
    try:
        app()
    except SystemExit as ended:  # Typer's own way out: help, wrong usage (2), an interrupt (130)
        return ended.code if isinstance(ended.code, int) else 0
    except UphillError as error:
        return _failed(error)
    except OSError as error:
        if error.errno not in DISK:
            return _bug()
        return _failed(disk_fault(error.errno, error.filename or "a file of the run"))
    except (
        Exception
    ):  # the border: whatever gets here is our mistake, and its traceback is what a report needs
        return _bug()
    return 0


def _bug() -> int:
    traceback.print_exc()
    print("error: this is a bug in uphill; please report the lines above", file=sys.stderr)
    return 1


def _failed(error: UphillError) -> int:
    """Say what a person can do about it; a program that asked for JSON gets that too."""
    Reporter(bars=False).error(error)
    if "--json" in sys.argv[1:]:
        document: dict[str, Any] = {
            "kind": type(error).__name__,
            "message": error.message,
            "remedy": error.remedy,
        }
        print_json({"error": {**document, "exit_code": error.exit_code}})
    return error.exit_code
