"""The grader of a stage: every verifier there is, with the stage's cores, folder and voice."""

import sys

from common.stage import StageContext
from rewards.grader import Grader
from rewards.interface import Resources
from rewards.kinds import KINDS, Kinds

ALL: Kinds = {**KINDS}
"""The verifiers of `rewards/`, and those that ask a judge."""


def open_grader(context: StageContext | None = None) -> Grader:
    """A grader for a stage, or for a command without one. Close it in the end."""
    if context is None:
        return Grader(ALL, Resources(note=lambda text: print(text, file=sys.stderr)))
    resources = Resources(context.threads, context.note, context.folder, context)
    return Grader(ALL, resources)
