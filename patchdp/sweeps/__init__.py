"""Many plans: grids of them, certified in parallel and resumable, and quick epsilons of a list.

Order of the files: `grid` says which plans there are; `points` certifies each of them, whatever
happens in between; `journal` keeps what is finished; `table` writes rows to a file; `estimates`
answers for a list of plans in one vectorised call.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((4, 4)),
...     sampling=pdp.Poisson(sampling_probability=0.01), noise_multiplier=1.0, steps=50,
... )
>>> len(pdp.sweep(pdp.Grid(plan, {"noise_multiplier": [1.0, 2.0], "delta": 1e-5})).rows)
2
"""

from patchdp.sweeps.estimates import epsilons
from patchdp.sweeps.grid import Grid
from patchdp.sweeps.points import Sweep, sweep

__all__ = ["Grid", "Sweep", "epsilons", "sweep"]
