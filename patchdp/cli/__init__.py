"""The same plan from a shell: `patchdp --help`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from patchdp._version import __version__
from patchdp.cli import output

__all__ = ["cli", "main"]

# Commands in the order of the help text, and where each is.
_COMMANDS = {
    "inclusion": "inclusion:inclusion",
    "epsilon": "privacy:epsilon",
    "noise": "privacy:noise",
    "solve": "privacy:solve",
    "compare": "compare:compare",
    "design": "design:design",
    "sweep": "sweep:sweep",
    "annotations": "annotations:score_annotations",
    "report": "report:report",
    "audit": "audit:audit",
}


class _Commands(click.Group):
    """Imports a command when it is asked for: none waits for what the others need."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(importlib.import_module(f"patchdp.cli.{module}"), name)
        return found


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog=output.example("patchdp inclusion --image 1024x2048 --crop 505x505 --patch 10x10"),
)
@click.version_option(__version__, prog_name="patchdp")
def cli() -> None:
    """How private a patch of an image is when training on random crops."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; bad input ends with status 2 and one sentence on stderr."""
    try:
        status = cli.main(args=argv, prog_name="patchdp", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status = 0
    except click.Abort:
        click.echo("patchdp: interrupted", err=True)
        status = 130
    except click.ClickException as error:
        click.echo(f"patchdp: {' '.join(error.format_message().split())}", err=True)
        status = 2
    except MemoryError:
        click.echo("patchdp: the memory of this machine is too small for this question", err=True)
        status = 2
    except (ValueError, OSError, ImportError) as error:
        click.echo(f"patchdp: {' '.join(str(error).split())}", err=True)
        status = 2
    sys.exit(status if isinstance(status, int) else 0)
