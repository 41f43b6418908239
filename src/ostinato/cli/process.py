"""Commands that need no running server: ``init``, ``serve``, ``config``."""

import asyncio
import shutil
import sys
from pathlib import Path

import click
import msgspec

from ostinato.core.errors import Conflict

_PATH = click.Path(dir_okay=False, path_type=Path)

TEMPLATE = """\
# Ostinato: point your client's base URL at http://127.0.0.1:8000/v1 and use an ost_ key.
[server]
port = 8000

[providers.openai]
kind = "openai"                         # or anthropic, azure, mistral, gemini, ollama, vllm, local ...
api_key = { env = "OPENAI_API_KEY" }    # secrets are pointed to, never written here

[models.gpt-4o-mini]
targets = ["openai/gpt-4o-mini"]        # provider/model; more of them are fallbacks, in order
"""


@click.command()
@click.option("--config", "path", type=_PATH, default="ostinato.toml", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--recover",
    is_flag=True,
    help="Make another administrator key though there is one: its secret was lost. The server must be stopped.",
)
@click.option("--serving", is_flag=True, hidden=True, help="The server is started right after: say what comes then.")
def init(path: Path, as_json: bool, recover: bool, serving: bool) -> None:
    """Write a configuration file, if there is none, and print the first administrator key, once."""
    from ostinato.config import load_storage  # noqa: PLC0415
    from ostinato.opening import first_start  # noqa: PLC0415

    written = not path.exists()
    if written:
        path.write_text(TEMPLATE, encoding="utf-8")
    try:
        secret = asyncio.run(first_start(load_storage(path), recover=recover))
    except Conflict as error:
        # Where the server starts right after, a key of an earlier day is no obstacle.
        if not (written or (serving and error.code == "already_initialized")):
            raise
        click.echo(f"{f'Wrote {path}. ' if written else ''}{error.message}")
        if error.hint:
            click.echo(error.hint)
        return
    if as_json:
        click.echo(msgspec.json.encode({"config": str(path), "written": written, "key": secret}).decode())
        return
    if written:
        click.echo(f"Wrote {path}: ten lines, one provider, one model. Change them to suit.")
    which = "A new" if recover else "The first"
    click.echo(f"\n{which} administrator key, shown this once:\n\n    {secret}\n")
    if recover:
        click.echo("The keys that there were go on working: `ostinato keys list`, then revoke the lost one.")
    command = program()
    if serving:
        click.echo("Next, in another terminal, while this one serves:")
        click.echo(f"    export OSTINATO_KEY=<that key>\n    {command} traces tail -f\n")
        click.echo("With another port than 8000 also: export OSTINATO_URL=http://127.0.0.1:<port>\n")
    else:
        config = "" if path == Path("ostinato.toml") else f" --config {path}"
        click.echo(f"Next:  export OSTINATO_KEY=<that key>  and  {command} serve{config}")


def program() -> str:
    """How this command line is called from here: ``ostinato`` where that is what the shell would run."""
    script = Path(sys.executable).parent / "ostinato"
    found = shutil.which("ostinato")
    if not script.exists() or (found is not None and Path(found).resolve() == script.resolve()):
        return "ostinato"
    here = Path.cwd()
    return str(script.relative_to(here) if script.is_relative_to(here) else script)


@click.command()
@click.option("--config", "path", type=_PATH, default="ostinato.toml", show_default=True)
@click.option("--port", type=int, help="Instead of [server] port.")
@click.option("--host", help="Instead of [server] host.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes; scaled out only.")
def serve(path: Path, port: int | None, host: str | None, workers: int) -> None:
    """Start the gateway and serve until SIGTERM or Ctrl-C."""
    from ostinato.config import load, located  # noqa: PLC0415
    from ostinato.core.errors import Invalid  # noqa: PLC0415
    from ostinato.serving import run  # noqa: PLC0415

    config = load(path)
    changes: dict[str, object] = {}
    if port is not None:
        changes["port"] = port
    if host is not None:
        changes["host"] = host
    if changes:
        config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, **changes))
    try:
        run(config, workers)
    except Invalid as error:
        raise located(error, path) from None


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.option("--config", "path", type=_PATH, default="ostinato.toml", show_default=True)
def show(path: Path) -> None:
    """Print the configuration as it is understood, defaults and environment included, secrets masked."""
    from ostinato.config import load, shown  # noqa: PLC0415

    click.echo(msgspec.json.format(msgspec.json.encode(shown(load(path))), indent=2).decode())
