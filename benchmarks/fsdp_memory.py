"""Peak memory of an SFT stage by process: one process with the whole model, and several that share
it with FSDP2.

    python -m benchmarks.fsdp_memory [--processes 2] [--layers 16]

Writes and prints `results/fsdp_memory.json`: for each process the rise of its peak memory over what
it held before the stage began (MiB), the largest rise of the several over that of the one, and the
largest difference between the final weights."""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, commit, machine
from common.files import write_json

WIDTH, ROWS, STEPS = 384, 2, 2
STAGE = {"id": "sft", "kind": "sft", "on": "prompts", "train": "full", "batch_size": ROWS}
STAGE |= {"learning_rate": 1e-4, "warmup_steps": 0}


def prepare(root: Path, layers: int) -> int:
    """Write a policy of Llama 4's shape and its prompts; the number of its parameters."""
    from models.checkpoint import save_policy
    from models.moe import MoeForCausalLM
    from models.nano import nano_config, nano_tokenizer
    from prompts.schema import Prompt, write_prompts

    tokenizer = nano_tokenizer()
    config = nano_config(tokenizer)
    config.hidden_size, config.num_hidden_layers = WIDTH, layers
    config.intermediate_size, config.intermediate_size_mlp = 2 * WIDTH, 4 * WIDTH
    shape = {key: value for key, value in config.to_dict().items() if "layer" not in key}
    shape |= {"num_hidden_layers": layers, "interleave_moe_layer_step": 2}
    policy = MoeForCausalLM(type(config)(**shape))
    save_policy(policy, tokenizer, root / "checkpoint")
    prompts = [
        Prompt(str(n), [{"role": "user", "content": "say it"}], "yes", "exact", "c", "s", None, {})
        for n in range(ROWS * STEPS)
    ]
    write_prompts(root / "prompts.parquet", prompts)
    return sum(weight.numel() for weight in policy.parameters())


def measure(root: Path, folder: Path, processes: int) -> list[float]:
    """Run the stage in as many processes; the rise of each one's peak memory, in MiB."""
    folder.mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    # Freed memory goes back to the system at once: what is counted is what is held.
    env |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    children = []
    for rank in range(processes):
        command = [sys.executable, "-m", "benchmarks.fsdp_memory", "--rank", str(rank)]
        command += ["--processes", str(processes), "--root", str(root), "--folder", str(folder)]
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes}
        own = {name: str(value) for name, value in names.items()} if processes > 1 else {}
        with (folder.parent / f"{folder.name}-{rank}.log").open("w") as log:
            children.append(
                subprocess.Popen(command, env=env | own, stdout=subprocess.PIPE, stderr=log)
            )
    rises = [float(child.communicate(timeout=600)[0].split()[-1]) for child in children]
    return rises


def train(root: Path, folder: Path, rank: int, processes: int) -> float:
    """One process of the stage; the rise of its peak memory, in MiB."""
    from common.execution import ExecutionConfig
    from common.stage import StageContext
    from stages.sft.config import SftStage
    from stages.sft.run import run

    sharding = "fsdp2" if processes > 1 else "none"
    devices = {"processes": processes, "sharding": sharding}
    context = StageContext(
        folder,
        seed=0,
        progress=lambda *_, **__: None,
        stop_requested=lambda: False,
        threads=1,
        execution=ExecutionConfig.model_validate({"devices": devices}),
        rank=rank,
    )
    before = _status("VmRSS")
    run(SftStage.model_validate(STAGE), {"checkpoint": root, "prompts": root}, context)
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    """A figure of this process's memory, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def compare(processes: int, layers: int) -> dict[str, Any]:
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        parameters = prepare(root, layers)
        folders = root / "one", root / "several"
        one, several = measure(root, folders[0], 1), measure(root, folders[1], processes)
        weights = [load_file(f / "checkpoint" / "model.safetensors") for f in folders]
        gap = max((weights[0][k] - weights[1][k]).abs().max().item() for k in weights[0])
    return {
        "parameters": parameters,
        "processes": processes,
        "one_mib": [round(rise, 1) for rise in one],
        "several_mib": [round(rise, 1) for rise in several],
        "ratio": round(max(several) / one[0], 3),
        "largest_weight_gap": gap,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rank is None:
        head = {"command": "python -m benchmarks.fsdp_memory", "commit": commit()}
        figures = {**head, "machine": machine(), **compare(given.processes, given.layers)}
        write_json(RESULTS / "fsdp_memory.json", figures)
        print(json.dumps(figures, indent=2))
    else:
        print(train(given.root, given.folder, given.rank, given.processes))


if __name__ == "__main__":
    main()
