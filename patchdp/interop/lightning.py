"""A Lightning callback that logs the patch-level epsilon and stops at a budget.

Needs `pip install patchdp[lightning]`.

>>> import patchdp as pdp
>>> from patchdp.interop.opacus import PatchPrivacyEngine
>>> engine = PatchPrivacyEngine(image=(32, 32), patch=pdp.Patch((2, 2)), sampling=pdp.Poisson)
>>> callback = PatchEpsilon(engine, delta=1e-5, budget=3.0)     # Trainer(callbacks=[callback])
>>> callback.epsilon
0.0
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback

from patchdp import _checks
from patchdp.guarantee import check_delta

__all__ = ["PatchEpsilon"]


class PatchEpsilon(Callback):  # type: ignore[misc]
    """Logs the patch-level epsilon of a training with Opacus, and stops before it exceeds a budget.

    >>> import patchdp as pdp
    >>> from patchdp.interop.opacus import PatchPrivacyEngine
    >>> engine = PatchPrivacyEngine(image=(32, 32), patch=pdp.Patch((2, 2)), sampling=pdp.Poisson)
    >>> PatchEpsilon(engine, delta=0, budget=3.0)
    Traceback (most recent call last):
        ...
    ValueError: delta must be strictly between 0 and 1, got 0

    The module makes itself private in `configure_optimizers`, with the same engine. Epsilon is
    logged at the end of every epoch and when training stops. No step is taken that would exceed
    the budget: before the first such step training stops, in the middle of an epoch if need be
    (`min_epochs` and `min_steps` of the trainer do not overrule it: an error is raised instead).

    Args:
      engine: A `PatchPrivacyEngine`, or a `PrivacyEngine` with a registered accountant.
      delta: In (0, 1).
      budget: The largest epsilon allowed; without one nothing is stopped.
      name: Under which epsilon is logged.

    Raises:
      ValueError: delta or budget is out of its range, or the accountant is not one of patchdp's.
    """

    def __init__(
        self, engine: Any, *, delta: float, budget: float | None = None, name: str = "patch_epsilon"
    ) -> None:
        from patchdp.interop.opacus import PatchAccountant

        check_delta(delta)
        self.delta = _checks.chance("delta", delta, open_ends=True)
        if not isinstance(engine.accountant, PatchAccountant):
            raise ValueError(
                "engine must be a PatchPrivacyEngine or PrivacyEngine(accountant=register(...)), "
                f"its accountant is {type(engine.accountant).__name__}"
            )
        self.engine = engine
        self.budget = None if budget is None else _checks.positive("budget", budget)
        self.name = name
        self._allowed: tuple[Any, int] | None = None

    @property
    def epsilon(self) -> float:
        """The patch-level epsilon of the steps taken so far."""
        return float(self.engine.get_epsilon(self.delta))

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Stop where the next step would exceed the budget."""
        self._stop_if_spent(trainer)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Refuse a step that would exceed the budget although training was told to stop."""
        if self._spent(trainer):
            raise RuntimeError(
                f"the next step would exceed the budget of epsilon {self.budget:g}: "
                f"{self.epsilon:.6g} is spent after {len(self.engine.accountant)} steps, and the "
                "trainer was kept from stopping (min_epochs, min_steps, or noise that shrank)"
            )

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop where the next step would exceed the budget."""
        self._stop_if_spent(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log epsilon."""
        pl_module.log(self.name, self.epsilon, prog_bar=True)

    def state_dict(self) -> dict[str, Any]:
        """The accountant's state, which a checkpoint of the trainer so carries along."""
        return {"accountant": dict(self.engine.accountant.state_dict())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the accountant's state.

        Raises:
          ValueError: It was saved under another claim.
        """
        self.engine.accountant.load_state_dict(state_dict["accountant"])
        self._allowed = None

    def _stop_if_spent(self, trainer: Any) -> None:
        if self._spent(trainer):
            trainer.should_stop = True

    def _spent(self, trainer: Any) -> bool:
        """Whether one more step with the present noise would exceed the budget.

        The number of steps that fit is found once and kept until noise or rate change.
        """
        if self.budget is None:
            return False
        taken = len(self.engine.accountant)
        kind = _next_step(trainer, self.engine.accountant.history)
        if self._allowed is None or self._allowed[0] != kind:
            noise, rate = kind
            more = self.engine.accountant.steps_within(
                epsilon=self.budget, delta=self.delta, noise_multiplier=noise, sample_rate=rate
            )
            self._allowed = kind, taken + more
        return taken >= self._allowed[1]


def _next_step(trainer: Any, history: Any) -> tuple[float, float]:
    """Noise multiplier and sample rate of the step to come."""
    noises = {o.noise_multiplier for o in trainer.optimizers if hasattr(o, "noise_multiplier")}
    if len(noises) != 1:
        raise ValueError(
            "the trainer must have one optimizer of Opacus, made by make_private in "
            f"configure_optimizers; found {len(noises)}"
        )
    rate = history[-1][1] if history else 1 / trainer.num_training_batches
    return noises.pop(), rate
