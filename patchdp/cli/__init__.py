"""The same plan from a shell: `patchdp --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from patchdp._version import __version__
from patchdp.cli import output
from patchdp.cli.annotations import score_annotations
from patchdp.cli.audit import audit
from patchdp.cli.compare import compare
from patchdp.cli.design import design
from patchdp.cli.inclusion import inclusion
from patchdp.cli.privacy import epsilon, noise, solve
from patchdp.cli.report import report
from patchdp.cli.sweep import sweep

__all__ = ["cli", "main"]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog=output.example("patchdp inclusion --image 1024x2048 --crop 505x505 --patch 10x10"),
)
@click.version_option(__version__, prog_name="patchdp")
def cli() -> None:
    """How private a patch of an image is when training on random crops."""


COMMANDS = (
    inclusion,
    epsilon,
    noise,
    solve,
    compare,
    design,
    sweep,
    score_annotations,
    report,
    audit,
)

for command in COMMANDS:
    cli.add_command(command)


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
    except (ValueError, OSError, MemoryError, ImportError) as error:
        click.echo(f"patchdp: {' '.join(str(error).split())}", err=True)
        status = 2
    sys.exit(status if isinstance(status, int) else 0)
