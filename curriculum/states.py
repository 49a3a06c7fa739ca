"""How many prompts of a finished ledger are active, retired or reactivated, by capability.

Opens the file for reading alone, so that the folder of a finished stage stays as it is."""

import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from common.errors import BadInput

_COUNT = "SELECT capability, state, COUNT(*) FROM prompts GROUP BY capability, state"


def states_by_capability(path: Path) -> dict[str, dict[str, int]]:
    """Capability to state to number of prompts. BadInput if the file is no readable ledger."""
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    address = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            for capability, state, count in database.execute(_COUNT):
                found[capability][state] = count
    except sqlite3.Error as error:
        raise BadInput(f"{path}: is no readable ledger: {error}", "redo its stage") from None
    return dict(found)
