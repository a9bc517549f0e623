"""Random questions as Python expressions: hostile numbers in every argument of every public name.

>>> Draw(1, 3).plan()[:17]
'pdp.TrainingPlan('
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

__all__ = ["Draw"]

Maker: TypeAlias = Callable[[], str]

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_FLOATS = ("float16", "float32", "float64", "longdouble")
_HUGE = (
    "2**31",
    "2**53 + 1",
    "2**60",
    "2**60 + 1",
    "2**63",
    "2**64",
    "10**21",
    "10**400",
    "10**5000",
)
_ODD = (
    "0", "-1", "True", "np.True_", "None", "'3'", "1.5", "Decimal(2)", "float('nan')", "1j", "[]",
    "float('inf')", "np.timedelta64(2, 's')", "np.array([1, 2])", "{1}", "np.nan", "b'1'",
)  # fmt: skip
_FRACTIONS = (
    "Fraction(1, 3)",
    "Fraction(1, 10**400)",
    "Fraction(10**30 - 1, 10**30)",
    "Fraction(7)",
)
_TINY = ("5e-324", "1e-300", "1e-200", "1e-100", "1e-30", "1e-12")
_VAST = ("1.7e308", "1e300", "1e100", "1e30", "1e12")


class Draw:
    """Draws expressions; the same ones for the same numbers.

    Args:
      seed: Of the whole run.
      index: Which of its expressions.
    """

    def __init__(self, seed: int, index: int) -> None:
        self.random = random.Random(f"{seed} {index}")
        # Most expressions are sane but for a few of their numbers: others stop at the door.
        self.wildness = self.random.choice((0.0, 0.02, 0.1, 0.4))

    def one(self, *choices: str) -> str:
        return self.random.choice(choices)

    def wild(self) -> bool:
        return self.random.random() < self.wildness

    def typed(self, number: str, kinds: Sequence[str]) -> str:
        """A number in some type of numpy, a fraction, or as it is."""
        kind = self.random.choice((*kinds, "", "", "", "Fraction", "array"))
        if kind == "array":
            return f"np.array({number})"
        if kind == "Fraction":
            return f"Fraction({number})"
        return f"np.{kind}({number})" if kind else number

    def whole(self, low: int, high: int) -> str:
        if self.wild():
            return self.one(*_HUGE, *_ODD, *_FRACTIONS)
        number = self.random.randint(low, high)
        # Types that cannot hold the number refuse it themselves.
        fitting = [k for k in _INTEGERS if number < 2 ** (int(k.lstrip("uint")) - 1)]
        return self.typed(str(number), fitting) if self.random.random() < 0.5 else str(number)

    def real(self, low: float, high: float) -> str:
        if self.wild():
            return self.one(*_TINY, *_VAST, *_ODD, *_FRACTIONS, "10**400")
        number = repr(low * (high / low) ** self.random.random())
        return self.typed(number, _FLOATS) if self.random.random() < 0.5 else number

    def share(self) -> str:
        return self.one("1", "0.5", "1.0", "Fraction(1, 3)", "1 / 3", self.real(1e-6, 1.0))

    def several(self, make: Maker) -> str:
        """A number, or several in a list, a tuple or an array."""
        if self.random.random() < 0.6:
            return make()
        entries = ", ".join(make() for _ in range(self.random.randint(0, 3)))
        return self.one(
            f"[{entries}]", f"({entries},)" if entries else "()", f"np.array([{entries}])"
        )

    def size(self, low: int, high: int, axes: int = 2) -> str:
        if self.random.random() < 0.15:
            numbers = [self.random.randint(low, min(high, 100)) for _ in range(axes)]
            return f"np.array({numbers}, np.{self.one(*_INTEGERS)})"
        axes += self.random.choice((-1, 1)) if self.wild() else 0
        return f"({''.join(self.whole(low, high) + ', ' for _ in range(axes))})"

    def flag(self) -> str:
        return self.one("True", "False", "np.True_") if not self.wild() else self.one(*_ODD)

    def word(self, *words: str) -> str:
        word = self.one(*words)
        return repr(word) if not self.wild() else self.one(*_ODD, f"np.str_({word!r})", "'other'")

    def padding(self) -> str:
        if self.random.random() < 0.7:
            return self.whole(0, 6)
        return f"({self.size(0, 6)}, {self.size(0, 6)})"

    def patch(self, axes: int = 2) -> str:
        where = self.one(
            "", "", "", f", at={self.size(0, 3, axes)}", f", count={self.whole(1, 4)}",
            f", within=({', '.join(f'(0, {self.whole(6, 16)})' for _ in range(axes))},)",
        )  # fmt: skip
        return self.one(
            f"pdp.Patch({self.size(1, 4, axes)}{where})",
            f"pdp.Patch({self.size(1, 4, axes)})",
            f"pdp.Disk({self.one(self.whole(0, 3), self.real(0.1, 3.0))}{where})",
            f"pdp.Mask([[{self.one('1', 'True')}, 0], [1, 1]]{where})",
            f"pdp.PatchUnion((pdp.Patch({self.size(1, 2)}, at={self.size(0, 4)}),))",
        )

    def plain(self) -> str:
        """A crop that most others are made of."""
        return f"pdp.RandomCrop({self.size(4, 16)}, padding={self.padding()})"

    def crop(self) -> str:
        inner = self.plain
        return self.random.choice(
            [
                inner,
                inner,
                lambda: (
                    f"pdp.RandomCrop({self.size(4, 16)}, padding={self.padding()}, padding_mode="
                    f"{self.word('reflect', 'edge', 'circular')}, pad_if_needed={self.flag()})"
                ),
                lambda: "pdp.WholeImage()",
                lambda: f"pdp.AtMost({inner()})",
                lambda: f"pdp.CenterCrop({self.size(4, 16)})",
                lambda: f"pdp.Cutout({inner()}, {self.size(1, 4)}, probability={self.share()})",
                lambda: (
                    f"pdp.RandomErasing({inner()}, {self.share()}, scale={self.range(0.02, 0.5)})"
                ),
                lambda: f"pdp.FixedCrop({self.size(4, 16)}, at={self.size(0, 8)})",
                lambda: f"pdp.{self.one('FiveCrop', 'TenCrop')}({self.size(4, 16)})",
                lambda: (
                    f"pdp.GridCrop({self.size(4, 8)}, stride={self.one('None', self.size(1, 8))})"
                ),
                lambda: f"pdp.NestedCrop({inner()}, pdp.RandomCrop({self.size(2, 4)}))",
                lambda: f"pdp.RandomApply({inner()}, {self.share()})",
                lambda: (
                    f"pdp.RandomResizedCrop({self.range(0.05, 1.0)}, {self.range(0.5, 2.0)}, "
                    f"attempts={self.whole(1, 10)})"
                ),
                lambda: (
                    f"pdp.RandomSizeCrop({self.size(2, 6)}, {self.size(6, 16)}, "
                    f"centered={self.flag()})"
                ),
                lambda: (
                    f"pdp.ResizedCrop({inner()}, {self.resizing()}, interpolation="
                    f"{self.word('nearest', 'bilinear', 'area')}, antialias={self.flag()})"
                ),
                lambda: f"pdp.Views(({inner()}, {inner()}))",
            ]
        )()

    def range(self, low: float, high: float) -> str:
        middle = (low * high) ** 0.5
        return f"({self.real(low, middle)}, {self.real(middle, high)})"

    def resizing(self) -> str:
        return self.one(
            f"pdp.Resize({self.one(self.whole(16, 40), self.size(16, 40))})",
            f"pdp.RandomScale({self.real(0.5, 1.0)}, {self.real(1.0, 2.0)}, "
            f"rounding={self.word('nearest', 'down')})",
            f"pdp.OneOf((pdp.Resize({self.whole(16, 40)}), pdp.Resize({self.size(16, 40)})))",
        )

    def image(self) -> str:
        return self.one(self.size(16, 40), self.size(16, 40), f"[{self.size(16, 40)}, (32, 24)]")

    def sampling(self) -> str:
        sizes = f"{self.whole(1, 100)}, {self.whole(100, 10**6)}"
        return self.one(
            f"pdp.Poisson({sizes})", f"pdp.FixedSize({sizes})", f"pdp.Shuffle({sizes})",
            f"pdp.Poisson(sampling_probability={self.share()})",
        )  # fmt: skip

    def plan(self) -> str:
        sampling = self.sampling()
        words = ["epochs"] if "Shuffle" in sampling else ["steps", "epochs"]
        duration = f"{self.one(*words)}={self.whole(1, 300)}"
        more = self.one(
            "", "", "", "", f", images_per_person={self.whole(1, 3)}",
            f", views={self.whole(2, 3)}, views_clipped="
            + self.word("together", "summed", "averaged"),
            f", pixel_noise={self.pixel_noise()}",
        )  # fmt: skip
        return (
            f"pdp.TrainingPlan(image={self.image()}, crop={self.crop()}, patch={self.patch()}, "
            f"sampling={sampling}, noise_multiplier={self.real(0.5, 8.0)}, {duration}{more})"
        )

    def pixel_noise(self) -> str:
        return (
            f"pdp.PixelNoise(std={self.real(0.01, 9.0)}, channels={self.whole(1, 4)}, "
            f"value_range={self.real(0.1, 9.0)})"
        )

    def delta(self) -> str:
        return self.one("1e-5", self.real(1e-12, 0.5), "Fraction(1, 2975)", "1 - 1e-16")

    def question(self) -> str:
        """A question to a plan."""
        plan = self.plan()
        if self.random.random() < 0.1:
            plan = f"({plan} + {self.plan()})"
        tolerance = self.one("", "", "", f", tolerance={self.real(1e-3, 0.5)}")
        ask = self.random.choice(
            [
                lambda: f"epsilon({self.several(self.delta)}{tolerance})",
                lambda: f"epsilon({self.delta()}, method={self.word('exact', 'rdp', 'pld')})",
                lambda: f"epsilon_bounds({self.delta()})",
                lambda: f"delta({self.several(lambda: self.real(0.01, 50.0))})",
                lambda: "advantage()",
                lambda: f"tradeoff({self.several(self.share)})",
                lambda: f"attack_success({self.several(self.share)})",
                lambda: f"profile([{self.real(0.1, 9.0)}, {self.real(0.1, 9.0)}])",
                lambda: f"rdp({self.several(lambda: self.real(1.01, 64.0))})",
                lambda: (
                    f"solve({self.word('steps', 'noise_multiplier', 'crop', 'batch_size')}, "
                    f"epsilon={self.real(0.5, 9.0)}, delta={self.delta()})"
                ),
                lambda: f"solve('noise_multiplier', advantage={self.share()})",
                lambda: f"solve('steps', tpr={self.share()}, fpr={self.share()})",
                lambda: "image_level().epsilon(1e-5)",
                lambda: f"pld(delta={self.delta()})",
            ]
        )
        return f"{plan}.{ask()}"

    def numbers(self) -> str:
        """A question beside plans."""
        return self.random.choice(
            [
                lambda: f"pdp.inclusion_map({self.size(12, 24)}, {self.crop()}, {self.patch()})",
                lambda: (
                    f"geometry.hit_probability({self.size(12, 24)}, {self.crop()}, "
                    f"[{self.size(0, 3)}], {self.size(1, 4)})"
                ),
                lambda: (
                    f"box_probabilities([{self.size(12, 24)}], {self.plain()}, "
                    f"[[0, 0, {self.whole(1, 9)}, {self.whole(1, 9)}]])"
                ),
                lambda: (
                    f"pdp.epsilons([{self.plan()}], {self.several(self.delta)}, "
                    f"method={self.word('exact', 'exact_estimate', 'rdp')})"
                ),
                lambda: (
                    f"epsilons_at({self.plan()}, {self.several(self.share)}, {self.delta()}, "
                    f"resolution={self.whole(1, 3)})"
                ),
                lambda: (
                    f"step.step_profile({self.sampling()}, inclusion_probability={self.share()}, "
                    f"noise_multiplier={self.real(0.5, 8.0)}).delta({self.real(0.1, 4.0)})"
                ),
                lambda: (
                    f"step.poisson_pair(rate={self.share()}, inclusion={self.share()}, "
                    f"mu={self.real(0.1, 2.0)})"
                ),
                lambda: (
                    f"pdp.amplify_one_step(one_step, {self.share()}, steps={self.whole(1, 9)}, "
                    f"interval={self.real(1e-2, 1.0)}).get_epsilon_for_delta(1e-3)"
                ),
                lambda: (
                    f"pdp.Grid({self.plan()}, {{'steps': [{self.whole(1, 9)}, "
                    f"{self.whole(1, 9)}], 'delta': {self.delta()}}}).plan(1)"
                ),
                lambda: (
                    f"pdp.sweep(pdp.Grid({self.plan()}, {{'crop': [{self.size(4, 9)}], "
                    f"'delta': [{self.delta()}]}}), lower={self.flag()}).rows"
                ),
                lambda: (
                    f"accountant({self.share()}, {self.share()}, {self.real(0.5, 8.0)}, "
                    f"{self.whole(1, 300)}, {self.delta()})"
                ),
                self.shell,
            ]
        )()

    def shell(self) -> str:
        flags = {
            "image": "28x28", "crop": "10x10", "patch": "2x2", "sampling": "poisson",
            "batch-size": "10", "dataset-size": "1000", "steps": "20", "noise-multiplier": "2",
            "delta": "1e-5",
        }  # fmt: skip
        hostile = (
            "0", "-1", "1e-400", "1e400", "1e21", "9" * 40, "9" * 5000, "nan", "abc", "", "1/3",
            "28×28", "0x0", str(2**64) + "x28", "disk:3", "missing.npy", "1e-5", "true", "½",
        )  # fmt: skip
        for _ in range(self.random.randint(1, 2)):
            name = self.one(*flags, "padding", "within", "views", "tolerance", "method")
            flags[name] = self.one(*hostile)
        words = [word for name, value in flags.items() for word in (f"--{name}", value)]
        return f"shell({['epsilon', *words]!r})"

    def expression(self, *, costly: bool) -> str:
        """Any expression; the ones that are not costly build plans and count windows."""
        if costly:
            return self.one(self.question(), self.question(), self.numbers())
        return self.one(
            self.plan(), self.plan(), self.plan() + ".hit_probability",
            f"pdp.inclusion({self.image()}, {self.crop()}, {self.patch()})",
            self.crop(), self.patch(), self.sampling(), self.pixel_noise(),
        )  # fmt: skip
