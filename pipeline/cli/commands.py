"""Runs the command line and turns every outcome into an exit code."""

import sys
import traceback
from typing import Any

from common.errors import UphillError
from common.visible import visible
from pipeline.cli import eval_commands, recipe_commands, run_commands, talk_commands
from pipeline.cli.app import app
from pipeline.cli.output import print_json
from pipeline.execution.faults import DISK, disk_fault
from pipeline.execution.progress import Reporter

COMMANDS = (recipe_commands, run_commands, eval_commands, talk_commands)
"""Imported because they register commands with the application."""


def run_command() -> int:
    """Run the command line; return the exit code."""
    try:
        app()
    except SystemExit as ended:  # raised by Typer: help, wrong usage (2), an interrupt (130)
        return ended.code if isinstance(ended.code, int) else 0
    except UphillError as error:
        return _failed(error)
    except OSError as error:
        if error.errno not in DISK:
            return _bug()
        return _failed(disk_fault(error.errno, error.filename or "a file of the run"))
    except Exception:  # a bug of ours; its traceback is what a report needs
        return _bug()
    return 0


def _bug() -> int:
    print(visible(traceback.format_exc(), None), file=sys.stderr)
    print("error: this is a bug in uphill; please report the lines above", file=sys.stderr)
    return 1


def _failed(error: UphillError) -> int:
    """Print the error and its remedy, and with `--json` also a JSON document."""
    Reporter(bars=False).error(error)
    if "--json" in sys.argv[1:]:
        document: dict[str, Any] = {
            "kind": type(error).__name__,
            "message": error.message,
            "remedy": error.remedy,
        }
        print_json({"error": {**document, "exit_code": error.exit_code}})
    return error.exit_code
