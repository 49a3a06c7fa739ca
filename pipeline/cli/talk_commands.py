"""The commands that talk to a checkpoint: chat, serve."""

from typing import Annotated

import typer

from pipeline.cli.app import RUNS, RunsDir, app

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="RUN[:STAGE]|FOLDER", help="By default the last finished stage of the run."
    ),
]
MaxModelLen = Annotated[
    int | None,
    typer.Option(
        "--max-model-len",
        metavar="N",
        min=16,
        help="Longest conversation in tokens; by default 4096, or the model's context.",
    ),
]


@app.command()
def chat(
    model: ModelName,
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="STAGE",
            help="A second checkpoint that answers too: a stage of the run, RUN:STAGE or FOLDER.",
        ),
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="The system message.")
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", min=0, help="0, as in evaluations.")
    ] = 0.0,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", metavar="N", min=1, help="Longest reply.")
    ] = 256,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of sampled replies.")] = 0,
    max_model_len: MaxModelLen = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Talk to a checkpoint, or to two side by side. Without a terminal each line of stdin is a
    message."""
    from pipeline.cli.chat import Sampling
    from pipeline.cli.chat import chat as talk
    from pipeline.cli.served_model import compared_model, served_model

    first = served_model(model, runs_dir, max_model_len)
    models = [first]
    if compare is not None:
        models.append(compared_model(compare, first, runs_dir, max_model_len))
    talk(models, Sampling(system, temperature, max_tokens, seed))


@app.command()
def serve(
    model: ModelName,
    more: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- VLLM-OPTION...]", help="Further options of vLLM's server."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=1, max=65535, help="Port on this machine.")
    ] = 8000,
    max_model_len: MaxModelLen = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Serve a checkpoint with vLLM's OpenAI-compatible server, for this machine alone."""
    from pipeline.cli.serve import serve as hand_over
    from pipeline.cli.served_model import served_model

    hand_over(served_model(model, runs_dir, max_model_len), port, more or [])
