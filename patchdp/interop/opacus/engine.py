"""An Opacus engine that sees the data: it reads the crop, checks the loader, and accounts.

>>> import patchdp as pdp
>>> engine = PatchPrivacyEngine(image=(32, 32), patch=pdp.Patch((2, 2)), sampling=pdp.Poisson)
>>> engine.get_epsilon(1e-5)
0.0
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

from opacus import PrivacyEngine
from opacus.distributed import DifferentiallyPrivateDistributedDataParallel
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from patchdp import _checks
from patchdp.guarantee import Method
from patchdp.interop.opacus.accountant import PatchAccountant, certified_epsilon
from patchdp.interop.opacus.claim import Claim, DeclaredSampling
from patchdp.interop.opacus.guard import CheckReport, PatchPrivacyWarning, check, read_crop
from patchdp.interop.opacus.samplers import (
    PassCounter,
    allocate,
    match,
    recognise,
    replace_batches,
)
from patchdp.interop.opacus.transforms import as_crop
from patchdp.step import FixedSize, Poisson, RandomAllocation, Shuffle

__all__ = ["PatchPrivacyEngine"]

# The modules for which Opacus takes its distributed sampler.
_DISTRIBUTED = (
    DifferentiallyPrivateDistributedDataParallel,
    DistributedDataParallel,
    FSDPModule,
)


class PatchPrivacyEngine(PrivacyEngine):  # type: ignore[misc]
    """A `PrivacyEngine` whose epsilon is that of a patch.

    >>> import torch
    >>> import patchdp as pdp
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> engine = PatchPrivacyEngine(
    ...     image=(32, 32), patch=pdp.Patch((2, 2)), sampling=pdp.Shuffle,
    ...     crop=pdp.RandomCrop((16, 16)),
    ... )
    >>> loader = DataLoader(TensorDataset(torch.zeros(60, 3)), batch_size=20, shuffle=True)
    >>> engine.noise_multiplier(loader, epsilon=1.0, delta=1e-5, epochs=3) > 1
    True

    Args:
      image: Size of the images before the crop, or a list of sizes.
      patch: What is private in one image.
      sampling: `pdp.Poisson`, `pdp.RandomAllocation`, `pdp.Shuffle` or `pdp.FixedSize`, bare or
        with numbers: what the loader does. With `Poisson` the engine makes the loader do so, as
        Opacus itself, and so it does with `RandomAllocation`; the other two are compared with the
        loader that is given.
      crop: The crop, or a transform; by default it is read off the data set's own transform.
      training: Further fields of `TrainingPlan`, such as `images_per_person`.
      secure_mode: As in Opacus.

    Raises:
      UnsupportedTransform: (from `make_private`) the data set's crop cannot be accounted.
      ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        *,
        image: Any,
        patch: Any,
        sampling: DeclaredSampling,
        crop: Any = None,
        secure_mode: bool = False,
        **training: Any,
    ) -> None:
        super().__init__(accountant=PatchAccountant.name, secure_mode=secure_mode)
        self.image = image
        self.patch = patch
        self.sampling = sampling
        self.crop = None if crop is None else as_crop(crop, image=image)
        self.training = tuple(sorted(training.items()))
        self.report: CheckReport | None = None

    def make_private(  # type: ignore[no-untyped-def]
        self,
        *,
        module: Any,
        optimizer: Any,
        data_loader: Any,
        noise_multiplier: float,
        max_grad_norm: Any,
        poisson_sampling: bool | None = None,
        clipping: str = "flat",
        rand_on_empty: bool = False,
        **options,
    ) -> Any:
        """As Opacus' `make_private`, after the checks of `check`.

        `poisson_sampling` follows from the declared sampling and need not be given.

        Raises:
          UnsupportedTransform: The data set's crop cannot be accounted; it says why.
          ValueError: The loader does not do what was declared, or an option of Opacus that this
            accounting does not cover is asked for.
        """
        wanted = self._poisson
        if poisson_sampling not in (None, wanted):
            raise ValueError(
                f"poisson_sampling must be {wanted} for the declared sampling {self.sampling!r}, "
                f"got {poisson_sampling}"
            )
        if clipping == "adaptive":
            raise ValueError(
                "clipping must be flat or per_layer: adaptive clipping releases the size of the "
                "batch and a count of images beside the gradient"
            )
        if rand_on_empty:
            raise ValueError(
                "rand_on_empty must be False: Poisson accounting needs empty batches to be empty"
            )
        claim, self.report = self._inspect(data_loader, module)
        self.accountant.declare(claim)
        made = super().make_private(
            module=module,
            optimizer=optimizer,
            data_loader=data_loader,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            poisson_sampling=wanted,
            clipping=clipping,
            rand_on_empty=rand_on_empty,
            **options,
        )
        # Poisson or not: an image in several accumulated batches would count several times.
        made[0].forbid_grad_accumulation()
        return made

    def make_private_with_epsilon(  # type: ignore[no-untyped-def]
        self,
        *,
        module: Any,
        optimizer: Any,
        data_loader: Any,
        target_epsilon: float,
        target_delta: float,
        epochs: int,
        max_grad_norm: Any,
        **options,
    ) -> Any:
        """As Opacus' `make_private_with_epsilon`: the run that is executed meets the target.

        Raises:
          UnsupportedTransform, ValueError: As `make_private`; or steps were taken before.
        """
        if len(self.accountant) > 0:
            raise ValueError(
                f"{len(self.accountant)} steps were taken already: the target would not hold for "
                "them and the new ones together; use make_private with a noise_multiplier"
            )
        noise = self.noise_multiplier(
            data_loader, module=module, epsilon=target_epsilon, delta=target_delta, epochs=epochs
        )
        with warnings.catch_warnings():
            # The same checks a second time need not be heard twice.
            warnings.simplefilter("ignore", category=PatchPrivacyWarning)
            return self.make_private(
                module=module,
                optimizer=optimizer,
                data_loader=data_loader,
                noise_multiplier=noise,
                max_grad_norm=max_grad_norm,
                **options,
            )

    def noise_multiplier(
        self,
        data_loader: Any,
        *,
        epsilon: float,
        delta: float,
        epochs: int,
        module: Any = None,
        method: Method = "auto",
    ) -> float:
        """The least noise at which `epochs` passes over a loader stay within `(epsilon, delta)`.

        Args:
          data_loader: The loader, as it would be given to `make_private`.
          epsilon, delta: The target.
          epochs: Passes over the loader.
          module: The model, to be checked with the loader.
          method: As in `TrainingPlan.epsilon`.
        """
        count, epsilon = _checks.count("epochs", epochs), _checks.positive("epsilon", epsilon)
        claim, _ = self._inspect(data_loader, module)
        batches = len(data_loader)
        if isinstance(claim.sampling, FixedSize):
            plan = claim.plan(sampling=claim.sampling, noise_multiplier=1.0, steps=count * batches)
        elif self._poisson:
            scheme = Poisson(sampling_probability=1 / batches)
            plan = claim.plan(sampling=scheme, noise_multiplier=1.0, steps=count * batches)
        elif isinstance(claim.sampling, RandomAllocation):
            plan = claim.plan(sampling=claim.sampling, noise_multiplier=1.0, epochs=count)
        else:
            plan = claim.plan(sampling=Shuffle(), noise_multiplier=1.0, epochs=count)
        aim = epsilon
        while True:
            found = plan.solve("noise_multiplier", epsilon=aim, delta=delta, method=method)
            # What get_epsilon will say, which may certify a little less sharply than solve.
            said = certified_epsilon(found, delta, method=method)
            if said <= epsilon:
                return found.noise_multiplier
            aim *= epsilon / said

    @functools.cached_property
    def _poisson(self) -> bool:
        return self.sampling is Poisson or isinstance(self.sampling, Poisson)

    @functools.cached_property
    def _allocated(self) -> bool:
        return self.sampling is RandomAllocation or isinstance(self.sampling, RandomAllocation)

    def _inspect(self, loader: Any, module: Any) -> tuple[Claim, CheckReport]:
        """Check a loader and state what training on it claims."""
        # First of all, before anything draws an item: a transform to be refused may not even run.
        read_crop(loader.dataset, None, self.image, self.crop, [])
        if self._allocated:
            loader = allocate(loader)
        elif self._poisson:
            # Opacus replaces the batches of this loader by Poisson ones.
            loader = self._prepare_data_loader(
                loader, poisson_sampling=True, distributed=isinstance(module, _DISTRIBUTED)
            )
        report = check(
            loader, module=module, image=self.image, crop=self.crop, sampling=self.sampling
        )
        found = report.sampling
        sampling = found if isinstance(found, FixedSize | RandomAllocation) else self.sampling
        return Claim(
            image=self.image,
            crop=report.crop,
            patch=self.patch,
            sampling=sampling,
            training=self.training,
        ), report

    def _prepare_data_loader(  # type: ignore[no-untyped-def]
        self, data_loader: Any, *, poisson_sampling: bool, **options
    ) -> Any:
        prepared = super()._prepare_data_loader(
            data_loader, poisson_sampling=poisson_sampling, **options
        )
        if poisson_sampling:
            # Opacus makes int(1 / (1 / n)) batches of n, which floating point may cut by one.
            name = "num_batches" if options.get("distributed") else "steps"
            setattr(prepared.batch_sampler, name, len(data_loader))
            return prepared
        if self._allocated:
            # In secure mode the batches come from the generator that the noise comes from.
            prepared = allocate(prepared, self.secure_rng if self.secure_mode else None)
        match(self.sampling, recognise(prepared))
        if isinstance(recognise(prepared), Shuffle | RandomAllocation):
            return replace_batches(
                prepared, PassCounter(prepared.batch_sampler, self.accountant.begin_epoch)
            )
        return prepared
