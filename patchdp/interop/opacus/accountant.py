"""An Opacus accountant whose epsilon is that of a patch, not of a whole image.

>>> import patchdp as pdp
>>> from opacus.accountants.utils import get_noise_multiplier
>>> name = register(
...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((2, 2)),
...     sampling=pdp.Poisson,
... )
>>> noise = get_noise_multiplier(
...     accountant=name, target_epsilon=1.0, target_delta=1e-5, sample_rate=1 / 75, epochs=3
... )
>>> noise < 2
True
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, ClassVar

from opacus.accountants import IAccountant, register_accountant
from opacus.accountants.registry import _ACCOUNTANTS
from opacus.optimizers import AdaClipDPOptimizer

from patchdp import _checks
from patchdp.composition.certificate import Refused
from patchdp.guarantee import Guarantee, Method
from patchdp.interop.opacus.claim import Claim, DeclaredSampling, Entry
from patchdp.step import Poisson

__all__ = ["PatchAccountant", "register"]


class PatchAccountant(IAccountant):  # type: ignore[misc]
    """Keeps Opacus' history and answers with the patch-level epsilon of the plan it amounts to.

    >>> import patchdp as pdp
    >>> accountant = PatchAccountant()
    >>> accountant.claim = Claim(
    ...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((2, 2)),
    ...     sampling=pdp.Shuffle,
    ... )
    >>> for _ in range(20):                                   # two passes of ten batches
    ...     accountant.step(noise_multiplier=4.0, sample_rate=1 / 10)
    >>> accountant.guarantee().applications
    2

    `register` makes a subclass that carries its claim; `PatchPrivacyEngine` sets `claim` once it
    has seen the data set.
    """

    name: ClassVar[str] = "patchdp-engine"
    claim: Claim | None = None

    def __init__(self) -> None:
        self._history: list[Entry] = []
        self._calibrating = False
        self._claimed_in_state: str | None = None
        self.epoch_starts: list[int] = []

    @property
    def history(self) -> list[Entry]:
        """`(noise_multiplier, sample_rate, steps)` entries, as every Opacus accountant keeps."""
        return self._history

    @history.setter
    def history(self, entries: Sequence[Entry]) -> None:
        # Opacus' get_noise_multiplier asks about a run by assigning its history.
        self._history = list(entries)
        self._calibrating = True

    def begin_epoch(self) -> None:
        """Note that the loader starts over: an image may appear once more from here on."""
        self.epoch_starts.append(len(self))

    def step(self, *, noise_multiplier: float, sample_rate: float) -> None:
        """Record one optimizer step."""
        self._calibrating = False
        noise_multiplier = _checks.nonnegative("noise_multiplier", noise_multiplier)
        sample_rate = float(_checks.probability("sample_rate", sample_rate))
        if self._history and tuple(self._history[-1][:2]) == (noise_multiplier, sample_rate):
            self._history[-1] = (noise_multiplier, sample_rate, self._history[-1][2] + 1)
        else:
            self._history.append((noise_multiplier, sample_rate, 1))

    def get_optimizer_hook_fn(self, sample_rate: float) -> Callable[[Any], None]:
        """The hook that Opacus attaches to its optimizer; it refuses steps of another kind.

        Raises:
          ValueError: (from the hook) gradients of several batches in one step, or an optimizer
            that adapts the clipping norm by a count of images.
        """

        def hook(optimizer: Any) -> None:
            if isinstance(optimizer, AdaClipDPOptimizer):
                raise ValueError(
                    "adaptive clipping releases the size of the batch and a count of images "
                    "beside the gradient, which this accounting does not cover; use flat clipping"
                )
            if optimizer.accumulated_iterations != 1:
                raise ValueError(
                    f"{optimizer.accumulated_iterations} batches were accumulated for one step: an "
                    "image that is in several of them counts several times; use Opacus' "
                    "BatchMemoryManager to split large batches instead"
                )
            self.step(noise_multiplier=optimizer.noise_multiplier, sample_rate=sample_rate)

        return hook

    def guarantee(self) -> Guarantee | None:
        """The `TrainingPlan` or `Composition` of the run so far; None before the first step."""
        return self._guarantee(self._executed(), self.epoch_starts)

    def get_epsilon(
        self,
        delta: float,
        *,
        method: Method = "auto",
        tolerance: float | None = None,
        **_unused: Any,
    ) -> float:
        """The certified patch-level epsilon of the run so far, as `TrainingPlan.epsilon`.

        Args:
          delta: In (0, 1).
          method, tolerance: As in `TrainingPlan.epsilon`. (Opacus also passes the options of its
            optimizers here, which do not matter.)
        """
        run = self.guarantee()
        return (
            0.0
            if run is None
            else certified_epsilon(run, delta, method=method, tolerance=tolerance)
        )

    def steps_within(
        self, *, epsilon: float, delta: float, noise_multiplier: float, sample_rate: float
    ) -> int:
        """How many more steps like this one keep the run within `(epsilon, delta)`.

        At most a million are counted.
        """
        epsilon = _checks.nonnegative("epsilon", epsilon)
        noise_multiplier = _checks.nonnegative("noise_multiplier", noise_multiplier)
        sample_rate = float(_checks.probability("sample_rate", sample_rate))

        def fits(steps: int) -> bool:
            history = [*self._executed(), (noise_multiplier, sample_rate, steps)]
            run = self._guarantee(history, self.epoch_starts)
            assert run is not None
            return certified_epsilon(run, delta) <= epsilon

        low, high, most = 0, 1, 10**6
        while high < most and fits(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def __len__(self) -> int:
        return sum(steps for _, _, steps in self._history)

    @classmethod
    def mechanism(cls) -> str:
        """The name under which Opacus knows this accountant."""
        return cls.name

    def state_dict(self, destination: Any = None) -> Any:
        """Opacus' state, with the claim in words and the starts of the passes."""
        state = super().state_dict(destination)
        state["claim"] = repr(self.claim)
        state["epoch_starts"] = list(self.epoch_starts)
        return state

    def load_state_dict(self, state_dict: Any) -> None:
        """Restore a state.

        Raises:
          ValueError: It was saved by another accountant or under another claim.
        """
        super().load_state_dict(state_dict)
        self._history = [
            (float(noise), float(rate), int(steps)) for noise, rate, steps in state_dict["history"]
        ]
        self._calibrating = False
        self.epoch_starts = list(state_dict.get("epoch_starts", ()))
        self._claimed_in_state = state_dict.get("claim")
        if self.claim is not None:
            self.declare(self.claim)

    def declare(self, claim: Claim) -> None:
        """Set the claim; one accountant keeps one claim from its first step on.

        Raises:
          ValueError: Steps were recorded under another claim.
        """
        earlier = self._claimed_in_state
        if earlier is None and self.claim is not None and self._history:
            earlier = repr(self.claim)
        if earlier is not None and self._history and earlier != repr(claim):
            raise ValueError(
                f"steps were recorded under {earlier}; they cannot be continued under {claim!r}"
            )
        self.claim = claim

    def _guarantee(self, history: Sequence[Entry], starts: Sequence[int]) -> Guarantee | None:
        if not history:
            return None
        if self.claim is None:
            raise ValueError("the accountant has no claim yet: call make_private or register first")
        return self.claim.guarantee(history, epoch_starts=starts)

    def _executed(self) -> list[Entry]:
        """The history; where it was only assigned, as a training of that length will execute it.

        Opacus calibrates for `int(epochs / sample_rate)` steps, which floating point may cut by
        one (75 batches, 3 epochs: 224). And where `int(1 / sample_rate)` falls short of the
        batches per epoch (93), its loader makes one batch less and reports the larger rate.
        """
        if not self._calibrating or self.claim is None:
            return deepcopy(self._history)
        poisson = self.claim.sampling is Poisson or isinstance(self.claim.sampling, Poisson)
        executed = []
        for noise, rate, steps in self._history:
            batches = round(1 / rate)
            reciprocal = rate == 1 / batches
            epochs, rest = divmod(steps + 1, batches)
            if reciprocal and rest == 0 and int(epochs / rate) == steps:
                steps += 1  # noqa: PLW2901
            if reciprocal and poisson and int(1 / rate) < batches:
                rate = 1 / int(1 / rate)  # noqa: PLW2901
            executed.append((noise, rate, steps))
        return executed


def register(
    *,
    image: Any,
    crop: Any,
    patch: Any,
    sampling: DeclaredSampling,
    name: str | None = None,
    **training: Any,
) -> str:
    """Make `PrivacyEngine(accountant=name)` answer with the patch-level epsilon.

    >>> import patchdp as pdp
    >>> register(image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((2, 2)),
    ...          sampling=pdp.Poisson, name="street")
    'street'

    An accountant sees the noise and one over the batches per epoch, nothing else: that the
    loader samples and crops as claimed is yours to know, or `check`'s to find out.

    Args:
      image, patch, crop: As in `TrainingPlan`; `crop` may also be a transform that
        `patchdp.interop.torchvision.plan_crop` reads.
      sampling: `pdp.Poisson` (Opacus' own sampling), `pdp.RandomAllocation`, `pdp.Shuffle`, or a
        scheme with its numbers.
      name: Any name that Opacus does not use; by default one derived from the claim.
      training: Further fields of `TrainingPlan`, such as `images_per_person`.

    Returns:
      The name.

    Raises:
      ValueError: An argument is out of its range, or the name stands for another claim.
    """
    from patchdp.interop.opacus.transforms import as_crop

    claim = Claim(
        image=image,
        crop=as_crop(crop, image=image),
        patch=patch,
        sampling=sampling,
        training=tuple(sorted(training.items())),
    )
    if name is None:
        name = "patchdp-" + hashlib.sha256(repr(claim).encode()).hexdigest()[:12]
    known = _ACCOUNTANTS.get(name)
    if known is not None and getattr(known, "claim", None) != claim:
        raise ValueError(f"name {name!r} is taken by another accountant; give another name")
    if known is None:
        register_accountant(name, type("PatchAccountant", (PatchAccountant,), _named(name, claim)))
    return name


def certified_epsilon(
    run: Guarantee, delta: float, *, method: Method = "auto", tolerance: float | None = None
) -> float:
    """`run.epsilon`, by another engine where this one can certify nothing sharp.

    A training asks after its first step too, and must not stop because one engine declines.

    >>> import patchdp as pdp
    >>> run = pdp.TrainingPlan(
    ...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((2, 2)),
    ...     sampling=pdp.Poisson(sampling_probability=1 / 75), noise_multiplier=1.0, steps=1,
    ... )
    >>> 0.29 < certified_epsilon(run, 1e-5) < 0.3
    True
    """
    try:
        return run.epsilon(delta, method=method, tolerance=tolerance)
    except Refused:
        return run.epsilon(delta, tolerance=tolerance)


def _named(name: str, claim: Claim) -> dict[str, Any]:
    return {"name": name, "claim": claim, "__doc__": PatchAccountant.__doc__}


register_accountant(PatchAccountant.name, PatchAccountant, force=True)
