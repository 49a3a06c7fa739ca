"""A paper plan for RL on Llama 4 Scout and Maverick: memory of a GPU, seconds and price of a step.

    python -m benchmarks.paper_plan            # prints it as Markdown
    python -m benchmarks.paper_plan --write    # puts it into docs/gpus.md

Nothing here was run. Memory is what `uphill plan` computes (`models/memory.py`). Seconds are
operations and bytes over the rates in `ASSUMED`; the rate of the experts' products is that of the
results of `benchmarks.gpu_check` where they exist."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.devices import DevicesConfig
from common.files import read_json, write_text
from models.config import LoraConfig
from models.memory import Memory, engine_memory, on_rank, on_server, training_memory
from models.presets import PRESETS
from models.sizes import Dimensions, active, from_config, total, trainable_parameters

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gpus.md"
MEASURED = ROOT / "benchmarks" / "results" / "gpu_check.json"
BEGIN, END = "<!-- printed by benchmarks.paper_plan -->\n", "<!-- end -->\n"
GIB, GIGA, TERA = 2**30, 1e9, 1e12
USABLE = {"H100": 79 * 0.8, "H200": 139 * 0.8, "B200": 178 * 0.8}
"""GiB of a GPU that a plan uses: a fifth is left free."""


@dataclass(frozen=True)
class Assumption:
    """A figure that nobody here has measured."""

    value: float
    words: str


ASSUMED = {
    "matrix": Assumption(990, "TFLOP/s of a GPU in dense bfloat16 (H100 SXM data sheet)"),
    "reached": Assumption(0.35, "of that rate are reached in training (a guess)"),
    "bandwidth": Assumption(3.35, "TB/s of GPU memory (H100 SXM data sheet)"),
    "decoding": Assumption(0.5, "of that bandwidth are reached in decoding (a guess)"),
    "inside": Assumption(450, "GB/s each way between the GPUs of a machine (NVLink 4 data sheet)"),
    "between": Assumption(50, "GB/s each way and GPU between machines (an adapter of 400 Gb/s)"),
    "folder": Assumption(2, "GB/s to and from a shared folder (a guess)"),
    "price": Assumption(3, "dollars for a GPU and hour (a guess)"),
    "machine": Assumption(8, "GPUs in a machine"),
    "prompts": Assumption(64, "prompts a step"),
    "group": Assumption(8, "answers to each"),
    "prompt": Assumption(512, "tokens of a prompt"),
    "answer": Assumption(1024, "tokens of an answer"),
    "pass": Assumption(32_768, "tokens of a GPU in one forward pass"),
    "sequences": Assumption(256, "sequences at once in a server (`max_num_seqs`)"),
}


def assumed(name: str) -> float:
    return ASSUMED[name].value


@dataclass(frozen=True)
class Layout:
    """A way to run the RL stage on some GPUs."""

    name: str
    preset: str
    train: str
    trainers: int
    servers: int
    tensor_parallel: int = 8
    bfloat16_base: bool = False
    """Frozen weights in bfloat16, which uphill does not do."""

    @property
    def gpus(self) -> int:
        return self.trainers + self.servers * self.tensor_parallel

    @property
    def model(self) -> Dimensions:
        dimensions = from_config(PRESETS[self.preset])
        assert dimensions is not None
        return dimensions


LAYOUTS = (
    Layout("Scout, full", "scout", "full", trainers=32, servers=1),
    Layout("Scout, full", "scout", "full", trainers=64, servers=1),
    Layout("Scout, LoRA", "scout", "lora", trainers=8, servers=1),
    Layout("Scout, LoRA", "scout", "lora", trainers=16, servers=1),
    Layout("Scout, LoRA on bfloat16", "scout", "lora", 8, servers=1, bfloat16_base=True),
    Layout("Maverick, full", "maverick", "full", trainers=128, servers=1, tensor_parallel=16),
    Layout("Maverick, LoRA", "maverick", "lora", trainers=64, servers=1, tensor_parallel=16),
    Layout("Maverick, LoRA on bfloat16", "maverick", "lora", 32, 1, 16, bfloat16_base=True),
)


def whole(layout: Layout) -> Memory:
    """What the trainer holds, evenly divided or not."""
    memory = training_memory(layout.model, layout.train, LoraConfig())
    if layout.bfloat16_base:
        memory = replace(memory, weights=memory.weights - 2 * total(layout.model))
    return memory


def trainer_memory(layout: Layout) -> Memory:
    """What one training process holds."""
    devices = DevicesConfig.model_validate(
        {
            "processes": layout.trainers,
            "sharding": "fsdp2",
            "precision": "bfloat16",
            "engine": {"kind": "server"},
        }
    )
    return on_rank(whole(layout), layout.model, devices)


def server_memory(layout: Layout) -> Memory:
    """What one GPU of a server holds, its cache full."""
    tokens = round(assumed("sequences") * (assumed("prompt") + assumed("answer")))
    engine = engine_memory(layout.model, "bfloat16", tokens)
    return on_server(engine, layout.tensor_parallel, layout.model.kv_heads)


def training_rate() -> tuple[float, str]:
    """Operations a second of a GPU in training, and where the figure is from."""
    if MEASURED.is_file():
        document = read_json(MEASURED)
        figures = document["parts"]["grouped"].get("figures", {}).get("scout_bfloat16")
        if figures and document["device"] != "cpu":
            found = figures["tera_a_second"]
            return found * TERA, f"{found:,.0f} TFLOP/s, `gpu_check` on {document['device']}"
    rate = assumed("matrix") * assumed("reached")
    return rate * TERA, f"{rate:,.0f} TFLOP/s, assumed"


def training_seconds(layout: Layout) -> float:
    """Seconds of the forward and backward passes of a step, with layers computed twice
    (`gradient_checkpointing`). A pass takes as long as the slower of its products and of its
    transfers: FSDP2 gathers the weights in bfloat16 twice, and adds up the gradients in float32."""
    model = layout.model
    rows = assumed("prompts") * assumed("group")
    tokens = rows * (assumed("prompt") + assumed("answer")) / layout.trainers
    passes = math.ceil(tokens / assumed("pass"))
    moving = trainable_parameters(model, layout.train, LoraConfig())
    operations = (6 if layout.train == "lora" else 8) * active(model) * tokens
    computing = operations / training_rate()[0]
    moved = (2 * 2 * total(model) + 4 * moving) * passes
    one_machine = layout.trainers <= assumed("machine")
    return max(computing, moved / (assumed("inside" if one_machine else "between") * GIGA))


def rollout_seconds(layout: Layout) -> float:
    """Seconds of decoding: each token reads the weights, as all experts are used, and on average
    half of the answers' cache."""
    per_server = assumed("prompts") * assumed("group") / layout.servers
    rounds = math.ceil(per_server / assumed("sequences"))
    memory = server_memory(layout)
    length = assumed("prompt") + assumed("answer")
    read = (assumed("prompt") + assumed("answer") / 2) / length
    moved = memory.engine + memory.kv_cache_at_most * read
    token = moved / (assumed("bandwidth") * assumed("decoding") * TERA)
    return rounds * assumed("answer") * token


def sync_seconds(layout: Layout) -> tuple[float, float]:
    """Seconds to hand over the weights in bfloat16: through a shared folder, written once and read
    once, and over the network to all GPUs of a server at once, which uphill does not do."""
    size = 2 * total(layout.model)
    folder = 2 * size / (assumed("folder") * GIGA)
    return folder, size / layout.tensor_parallel / (assumed("between") * GIGA)


def memory_rows() -> list[list[str]]:
    rows = [["model and training", "trainer in all", "GPUs", "evenly", "by process", "fits"]]
    for layout in LAYOUTS:
        part = trainer_memory(layout).total() / GIB
        all_of_it = whole(layout).total() / GIB
        fits = [name for name, usable in USABLE.items() if part <= usable]
        cells = [f"{all_of_it:,.0f}", str(layout.trainers), f"{all_of_it / layout.trainers:.1f}"]
        rows.append([layout.name, *cells, f"{part:.1f}", ", ".join(fits) or "none"])
    return rows


def engine_rows() -> list[list[str]]:
    rows = [["model", "engine", "GPUs", "weights by GPU", "with its cache"]]
    for preset, tensor_parallel in (("scout", 8), ("maverick", 16)):
        layout = Layout(preset, preset, "full", 8, 1, tensor_parallel)
        part = server_memory(layout)
        in_all = engine_memory(layout.model, "bfloat16", 0).engine / GIB
        cells = [f"{part.engine / GIB:.1f}", f"{part.total() / GIB:.1f}"]
        rows.append([preset.capitalize(), f"{in_all:,.0f}", str(tensor_parallel), *cells])
    return rows


def step_rows() -> list[list[str]]:
    header = ["model and training", "GPUs", "train", "roll out", "sync", "step", "dollars"]
    rows = [header]
    for layout in LAYOUTS:
        parts = [training_seconds(layout), rollout_seconds(layout), sync_seconds(layout)[0]]
        price = sum(parts) / 3600 * layout.gpus * assumed("price")
        cells = [f"{seconds:,.0f}" for seconds in (*parts, sum(parts))]
        rows.append([layout.name, f"{layout.trainers} + {layout.gpus - layout.trainers}", *cells])
        rows[-1].append(f"{price:.2f}")
    return rows


def table(rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(row) for row in rows]
    lines.insert(1, " | ".join(["---"] * len(rows[0])))
    return "".join(f"| {line} |\n" for line in lines)


def page() -> str:
    """The whole plan as Markdown."""
    by_preset = {layout.preset: sync_seconds(layout)[1] for layout in LAYOUTS}
    network = ", ".join(f"{name.capitalize()} {took:.1f}" for name, took in by_preset.items())
    assumptions = "".join(f"- {a.value:,g} {a.words}\n" for a in ASSUMED.values())
    return f"""\
Memory of the trainer in GiB, `precision: bfloat16`, FSDP2:

{table(memory_rows())}
"by process" adds to an even share what FSDP2 puts together for a pass. "fits" names the GPUs of
which it takes at most four fifths; the rest is for activations. "LoRA on bfloat16" holds the frozen
weights in bfloat16, which uphill does not do yet.

Memory of a rollout server in GiB, in bfloat16:

{table(engine_rows())}
Seconds of an RL step, one phase after the other, on H100 GPUs whether or not it fits, and its
price:

{table(step_rows())}
"GPUs" are those of trainers and servers. The rate of training is {training_rate()[1]}.
The sync goes through a shared folder; over the network, which uphill does not do yet, it would be
seconds: {network}.

Assumptions:

{assumptions}- layers are computed twice (`gradient_checkpointing`)
- products and transfers overlap entirely
- answers are all of full length, and prompts are computed once for each answer
- grading, probes and the parity check take no time
"""


def main(words: Sequence[str]) -> None:
    if "--write" in words:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        write_text(PAGE, f"{before}{BEGIN}{page()}{END}{rest.partition(END)[2]}")
    else:
        print(page())


if __name__ == "__main__":
    main(sys.argv[1:])
