"""Declaration of a stage that adopts a finished stage of another run."""

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
    """Copies a finished stage of another run and checks each file against its record. The copy
    counts as a stage of the adopted kind."""

    produces: ClassVar[tuple[Artifact, ...]] = (ORIGIN,)

    kind: Literal["adopt"]
    folder: StageFolder
    """Folder of the finished stage in its run, e.g. `../runs/other/03-filter`."""

    def needs(self) -> Mapping[str, Need]:
        return {"prompts": Need((PROMPTS,), stage=PROMPTS_STAGE)}

    def outputs(self) -> tuple[Artifact, ...] | None:
        """The shared artifacts that the adopted stage's record lists."""
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
        """Weights of a model with other dimensions than the run's, which later stages could not
        combine."""
        checkpoint = CHECKPOINT.path(Path(self.folder))
        if not checkpoint.exists():
            return
        adopted = from_folder(checkpoint, "llama4_text")
        if adopted is None:
            message = f"{checkpoint} is not a Llama 4 checkpoint: its config.json states no sizes"
            yield Objection(("folder",), message, "adopt another stage")
        elif adopted != policy:
            others = ", ".join(other_sizes(policy, adopted))
            message = f"{self.folder} holds another model than `model`: its {others} differ"
            remedy = "give the recipe the `model` of the run that it comes from"
            yield Objection(("folder",), message, remedy)
