"""The weights of the best evaluated step so far: in `resume/best/` while the stage works, and in
each of its checkpoints those that were the best then."""

import os
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from common.artifacts import CHECKPOINT, PARITY
from common.stage import StageContext
from models.routing import plain
from models.sharded import save_sharded_policy
from training.processes import barrier
from training.resume import resume_folder

BEST = "best"
"""The folder, in `resume/` and in a checkpoint: `checkpoint/` and, where it is kept, `parity.json`,
which are the stage's own if they are still the best at its end."""


class BestWeights:
    """Keeps the best weights of one stage. Every process has one; process 0 writes."""

    def __init__(self, context: StageContext, start: Path | None) -> None:
        """`start` is the checkpoint that the stage goes on from."""
        self.context, self.folder = context, resume_folder(context) / BEST
        if not context.main:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        if start is not None and (start / BEST).is_dir():
            _copy(start / BEST, self.folder)

    def keep(
        self, policy: Any, tokenizer: PreTrainedTokenizerBase, proof: dict[str, Any] | None = None
    ) -> None:
        """Replace the best weights by those of the policy, with the `proof` that goes into
        `parity.json`. Call it on every process."""
        if self.context.main:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            if proof is not None:
                PARITY.write(self.folder, proof)
        config = plain(policy).config
        # Both belong to the file, not to the policy that goes on training.
        training = config.use_cache, config.dtype
        config.use_cache = True
        target = CHECKPOINT.path(self.folder)
        save_sharded_policy(policy, tokenizer, target, writes=self.context.main)
        config.use_cache, config.dtype = training
        barrier(self.context)

    def save(self, checkpoint: Path) -> None:
        """Keep them with a checkpoint of the stage, in process 0."""
        if self.folder.is_dir():
            _copy(self.folder, checkpoint / BEST)

    def place(self) -> None:
        """Make them the stage's checkpoint. Call it on every process."""
        if self.context.main:
            for artifact in (CHECKPOINT, PARITY):
                if artifact.path(self.folder).exists():
                    artifact.path(self.folder).replace(artifact.path(self.context.folder))
        barrier(self.context)


def _copy(source: Path, target: Path) -> None:
    """A copy of a folder whose files nobody changes: it takes no room where the file system can
    give a file two names."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=_linked)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
