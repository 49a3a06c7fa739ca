"""A million rows of a person's file: seconds and peak memory of the reader for each format, and of
the whole `prompts` stage.

.venv/bin/python -m benchmarks.million_rows   # writes benchmarks/results/million_rows.json
"""

import csv
import gzip
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from common.files import write_json
from common.process_memory import peak_memory_mib
from prompts.config import FileSource
from prompts.records import records
from prompts.sources import load_source

ROWS, BATCH = 1_000_000, 10_000
FIELDS = {"prompt": "question", "answer": "answer"}
NAMES = ("rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst", "rows.json", "rows.csv", "rows.parquet")


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(measured(sys.argv[1], Path(sys.argv[2]))))
        return
    from benchmarks.harness import RESULTS, commit, machine  # here: it loads torch

    figures: dict[str, Any] = {"rows": ROWS}
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            path = Path(folder) / name
            write(path)
            figures[f"reader {name}"] = in_a_process("reader", path)
            figures[f"reader {name}"]["file_mib"] = round(path.stat().st_size / 2**20)
            if name == NAMES[0]:
                figures |= {what: in_a_process(what, path) for what in ("prompts", "stage")}
            path.unlink()
    head = {
        "command": "python -m benchmarks.million_rows",
        "commit": commit(),
        "machine": machine(),
    }
    write_json(RESULTS / "million_rows.json", {**head, **figures})
    print((RESULTS / "million_rows.json").read_text())


def in_a_process(what: str, path: Path) -> dict[str, float]:
    """The figures of one measurement, in a process of its own: a peak does not go down again."""
    command = [sys.executable, "-m", "benchmarks.million_rows", what, str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measured(what: str, path: Path) -> dict[str, float]:
    """Seconds by the clock and of the processor, peak memory in MiB and the memory before.

    `reader` maps the rows and drops them, `prompts` keeps them as prompts, `stage` is the whole
    stage."""
    values = {"path": str(path), "capability": "arithmetic", "verifier": "number", "fields": FIELDS}
    source = FileSource.model_validate({"source": "file", **values})
    before, start, worked = peak_memory_mib(), time.perf_counter(), time.process_time()
    if what == "reader":
        count = sum(1 for _ in records(source))
    elif what == "prompts":
        count = len(load_source(source))
    else:
        count = stage(source, path.parent)
    if count != ROWS:
        raise SystemExit(f"{what}: {count} rows instead of {ROWS}")
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "peak_mib": round(peak_memory_mib()),
        "before_mib": round(before),
    }


def stage(source: FileSource, folder: Path) -> int:
    """Run the `prompts` stage; the number of prompts that it kept."""
    from common.stage import StageContext
    from stages.prompts.config import PromptsStage
    from stages.prompts.run import run

    context = StageContext(folder, 0, lambda *_, **__: None, lambda: False, threads=1)
    metrics = run(PromptsStage(sources=(source,)), {}, context).metrics
    return int(metrics["training"]) + int(metrics["held_out"])


def question(number: int) -> dict[str, str]:
    """A row of about 200 bytes, with two columns that nobody reads."""
    text = f"Tom has {number} apples and buys {7 * number} more at the market. How many has he now?"
    return {"question": text, "answer": str(8 * number), "topic": "shopping", "note": "x" * 40}


def batches() -> Iterator[list[dict[str, str]]]:
    numbers = iter(range(ROWS))
    while rows := [question(number) for number in islice(numbers, BATCH)]:
        yield rows


def write(path: Path) -> None:
    """Write a million rows in the format that the name says."""
    if path.suffix == ".parquet":
        with pq.ParquetWriter(path, pa.Table.from_pylist([question(0)]).schema) as writer:
            for rows in batches():
                writer.write_table(pa.Table.from_pylist(rows))
        return
    packers: dict[str, Callable[[], Any]] = {
        ".zst": lambda: pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd"),
        ".gz": lambda: gzip.GzipFile(path, "wb", 1),
    }
    with packers.get(path.suffix, lambda: path.open("wb"))() as sink:
        for number, rows in enumerate(batches()):
            sink.write(encoded(path, rows, number == 0, number == ROWS // BATCH - 1))


def encoded(path: Path, rows: list[dict[str, str]], first: bool, last: bool) -> bytes:
    if path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        if first:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
    lines = [json.dumps(row) for row in rows]
    if path.suffix == ".json":
        return ("[" if first else ",\n").encode() + ",\n".join(lines).encode() + b"]" * last
    return "".join(f"{line}\n" for line in lines).encode()


if __name__ == "__main__":
    main()
