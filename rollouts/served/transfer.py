"""vLLM's weight transfer with a safetensors file: the engine's side, in the process of the model.

Weights are loaded only when their checksum is that of the sender, so a file that changed or was
mixed up on its way leaves the old weights as they are. What `rollouts/sync.py` says of silent
failures holds here too; its two functions are used.

A backend for GPUs that keeps tensors there (`nccl`, `ipc`) is another such class: it gets names and
tensors from vLLM's own engine of that name instead of from a file."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.model_loader.reload import (
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

from rollouts.served.handover import checksum_of, tensors
from rollouts.sync import forget_prepared_experts, with_tied_head

BACKEND = "safetensors"


@dataclass
class NothingToAgree(WeightTransferInitInfo):
    """Sender and engine need no connection."""


@dataclass
class WeightFile(WeightTransferUpdateInfo):
    """The file of one update."""

    path: str
    checksum: str
    """What its tensors must have."""


class SafetensorsEngine(WeightTransferEngine[NothingToAgree, WeightFile]):
    """Loads a safetensors file whose checksum is known."""

    init_info_cls = NothingToAgree
    update_info_cls = WeightFile
    checksum: str | None = ""
    """Of the weights that the model has; empty for those of its checkpoint, None where an update
    failed half-way."""

    def init_transfer_engine(self, init_info: NothingToAgree) -> None:
        """Nothing to do."""

    def start_weight_update(self) -> None:
        """Nothing to do: the model is left alone until the file is known to be right."""

    def update_weights(self, update_info: dict[str, str]) -> None:
        """Load the weights. The base class waits for an accelerator, which may not exist."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: WeightFile) -> None:
        """Load the weights of a file. ValueError, and the old weights, where its checksum is
        another."""
        if self.checksum is None:
            raise ValueError("an earlier update failed half-way: start this server again")
        found = checksum_of(tensors(update_info.path))
        if found != update_info.checksum:
            raise ValueError(
                f"the weights have the checksum {found}, the sender's have {update_info.checksum}"
            )
        self.checksum = None
        forget_prepared_experts(self.model)
        initialize_layerwise_reload(self.model)
        self.model.load_weights(with_tied_head(self._tensors(update_info)))
        finalize_layerwise_reload(self.model, self.model_config)
        self.checksum = found

    def _tensors(self, file: WeightFile) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in tensors(file.path):
            yield name, tensor.to(self.device)

    def finish_weight_update(self) -> None:
        """Nothing to do: one file is one update."""

    def shutdown(self) -> None:
        """Nothing to do."""


WeightTransferEngineFactory.register_engine(BACKEND, SafetensorsEngine)
