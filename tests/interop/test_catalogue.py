"""Which transforms are known, by what, and who may be vouched for."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from patchdp.geometry import CenterCrop, WholeImage
from patchdp.interop.catalogue import Catalogue, Row, unknown
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform


def test_the_catalogue_knows_whole_names_of_one_library() -> None:
    library = Catalogue("nolib", pointwise={"Invert"}, refused={"MixUp": "it mixes images"})
    chain = Pipeline((8, 8))
    library.read(chain, {}, (), name="Invert")
    with pytest.raises(UnsupportedTransform, match="MixUp is refused: it mixes images"):
        library.read(chain, {}, ("MixUp",), name="MixUp")
    with pytest.raises(UnsupportedTransform, match=r"sorted is not known.*vouched=\('sorted',\)"):
        unknown(chain, sorted, ())
    unknown(chain, sorted, ("sorted",))
    assert chain.result() == WholeImage()


class Shift:
    """A transform of a library that is this file."""

    def __init__(self, pixels: int = 0, *, typo: bool = False) -> None:
        self.pixels = pixels

    def apply(self) -> None:
        """What a transform does."""


class OwnShift(Shift):
    """Somebody's own."""


class Base:
    """For transforms of one's own."""


class OwnTint(Base):
    """Somebody's own."""


def shift(pipeline: Pipeline, transform: Any, vouched: Any) -> None:
    pipeline.crop_by(CenterCrop((4, 4)), "Shift")


HERE = __name__.split(".")[0]


def catalogue(**more: Any) -> Catalogue:
    return Catalogue(HERE, readers={"Shift": Row(shift, "pixels typo")}, **more)


def test_every_parameter_of_a_constructor_must_be_known_to_its_row() -> None:
    chain = Pipeline((8, 8))
    catalogue().read(chain, Shift(), ())
    assert chain.result() == CenterCrop((4, 4))
    short = Catalogue(HERE, readers={"Shift": Row(shift, "pixels")})
    with pytest.raises(UnsupportedTransform, match=f"Shift of the installed {HERE} takes typo"):
        short.read(Pipeline((8, 8)), Shift(), ())
    listed = Catalogue(HERE, pointwise={"Shift": "typo"})
    with pytest.raises(UnsupportedTransform, match="takes pixels, which patchdp does not know"):
        listed.read(Pipeline((8, 8)), Shift(), ())


def test_what_is_replaced_on_one_object_is_refused() -> None:
    own = Shift()
    own.apply = lambda: None  # type: ignore[method-assign]
    with pytest.raises(UnsupportedTransform, match="Shift has had apply replaced on this one"):
        catalogue().read(Pipeline((8, 8)), own, ())


def test_a_class_is_known_by_identity_not_by_its_name() -> None:
    elsewhere = type("Shift", (), {"__module__": f"{HERE}.other"})
    assert catalogue().knows(elsewhere())
    home = catalogue(home=(__name__,))
    assert home.knows(Shift())
    assert not home.knows(elsewhere())
    assert not home.knows(OwnShift.__mro__[2]())


def test_who_may_be_vouched_for() -> None:
    home = catalogue(home=(__name__,), neutral={"Base"}, pointwise={"Invert": ""})
    mine = type("Mine", (Base,), {"__module__": "elsewhere"})()
    home.read(Pipeline((8, 8)), mine, ("Mine",))
    with pytest.raises(UnsupportedTransform, match=r"Mine.*vouched=\('Mine',\)"):
        home.read(Pipeline((8, 8)), mine, ())
    warp = type("Warp", (Shift,), {"__module__": "elsewhere"})()
    with pytest.raises(UnsupportedTransform, match="derives from Shift and may do something else"):
        home.read(Pipeline((8, 8)), warp, ("Warp",))
    with pytest.raises(UnsupportedTransform, match="OwnTint is not known") as caught:
        home.read(Pipeline((8, 8)), OwnTint(), ("OwnTint",))  # the library's, and not in a table
    assert "vouch" not in str(caught.value)
    with pytest.raises(UnsupportedTransform, match="apply is a method of Shift"):
        home.read(Pipeline((8, 8)), Shift().apply, ("apply",))
    with pytest.raises(UnsupportedTransform, match="Fraction is a class"):
        home.read(Pipeline((8, 8)), Fraction, ("Fraction",))
