"""Declaration of a stage that takes over what a stage of another run made."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from common.artifacts import CHECKPOINT, ORIGIN, PROMPTS, SHARED, Artifact
from common.config import Text
from common.user_files import UserFile
from models.sizes import Dimensions, from_folder, other_sizes
from stages.adopt.record import read_adopted
from stages.declaration import PROMPTS_STAGE, Disk, Need, Objection, StageConfig
from stages.questions import AdoptQuestion, Question

StageFolder = Annotated[Text, UserFile("stage")]
"""The folder of a finished stage of another run."""


class AdoptStage(StageConfig):
    """A copy of a finished stage of another run, each file proven by its record."""

    produces: ClassVar[tuple[Artifact, ...]] = (ORIGIN,)

    kind: Literal["adopt"]
    folder: StageFolder
    """The finished stage's folder in its run, e.g. `../runs/other/03-filter`."""

    def needs(self) -> Mapping[str, Need]:
        return {"prompts": Need((PROMPTS,), stage=PROMPTS_STAGE)}

    def outputs(self) -> tuple[Artifact, ...] | None:
        """What the adopted stage's record says that it leaves for others."""
        record = read_adopted(Path(self.folder))
        if record is None:
            return None
        return (*self.produces, *(SHARED[name] for name in record.produces if name in SHARED))

    def disk(self, policy: Dimensions) -> Disk | None:
        record = read_adopted(Path(self.folder))
        return Disk(kept=sum(file.size for file in record.files.values()) if record else 0)

    def questions(self, place: str, seed: int) -> Iterator[Question]:
        yield AdoptQuestion(place=place, id=self.id, folder=self.folder)

    def objections(self, policy: Dimensions) -> Iterator[Objection]:
        """Weights of another model than the run's: what reads both would take them for the
        same."""
        checkpoint = CHECKPOINT.path(Path(self.folder))
        if not checkpoint.exists():
            return
        adopted = from_folder(checkpoint, "llama4_text")
        if adopted is None:
            message = f"{checkpoint} is no Llama 4 checkpoint: its config.json says no sizes"
            yield Objection(("folder",), message, "adopt another")
        elif adopted != policy:
            others = ", ".join(other_sizes(policy, adopted))
            message = f"{self.folder} holds another model than `model`: its {others} differ"
            remedy = "give the recipe the `model` of the run that it is from"
            yield Objection(("folder",), message, remedy)
