"""The command line and its commands. An error prints one sentence, never a traceback."""

from __future__ import annotations

import typer
from rich.markup import escape

from modelshapley.cli import (
    agents,
    circuits,
    harness,
    keys,
    measuring,
    prompting,
    publishing,
    server,
    tasks,
)
from modelshapley.cli.applications import finetuning, pruning, quantising, reproduce, using
from modelshapley.cli.options import notes
from modelshapley.errors import ModelShapleyError

COMMANDS = (
    measuring.evaluate,
    measuring.score,
    measuring.verify,
    measuring.compare,
    measuring.report,
    pruning.prune,
    pruning.recommend,
    finetuning.finetune,
    quantising.quantise,
    using.probe,
    using.amplify,
    publishing.publish,
    publishing.fetch,
    publishing.mib,
    circuits.circuit,
    server.up,
    server.web,
    server.worker,
    server.doctor,
    server.backup,
    server.restore,
    agents.mcp,
)
app = typer.Typer(
    help="Which neurons, heads and layers of a transformer carry a task?",
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(tasks.app, name="task")
app.add_typer(reproduce.app, name="reproduce")
app.add_typer(keys.app, name="keys")
for command in COMMANDS:
    app.command()(command)
app.command("lm-eval")(harness.lm_eval)
app.command("try")(prompting.try_prompt)  # no function can be called try


def main() -> None:
    """Run the command line; print errors as sentences, without a traceback."""
    try:
        app()
    except ModelShapleyError as error:
        notes.print(f"[bold red]error[/]: {escape(str(error))}", soft_wrap=True)
        raise SystemExit(1) from None
