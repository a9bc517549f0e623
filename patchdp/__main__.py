"""`python -m patchdp` is the command `patchdp`."""

from patchdp.cli import main

main()
