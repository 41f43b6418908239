"""The command tree."""

import importlib
from typing import Any

import click

_COMMANDS = {
    "init": "ostinato.cli.process:init",
    "serve": "ostinato.cli.process:serve",
    "config": "ostinato.cli.process:config",
}
"""Name -> where it is; imported when it is called, or when its own help is asked for."""

_HELP = {
    "init": "Write a configuration file and print the first administrator key.",
    "serve": "Start the gateway.",
    "config": "Look at the configuration.",
}


class Lazy(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = _COMMANDS.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_HELP.items()))


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ostinato", prog_name="ostinato")
def cli() -> None:
    """Ostinato: an LLM gateway that repeats what works and reworks what does not."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; an Ostinato error is one sentence on standard error and exit code 1."""
    from ostinato.core.errors import OstinatoError  # noqa: PLC0415

    try:
        return cli.main(args=arguments, prog_name="ostinato", standalone_mode=True)
    except OstinatoError as error:
        click.echo(f"ostinato: {error.message}", err=True)
        if error.hint:
            click.echo(f"          {error.hint}", err=True)
        raise SystemExit(1) from None
