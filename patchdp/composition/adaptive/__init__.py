"""MANY STEPS against the best adaptive adversary: optimal composition in blocks.

The composed bound gives every step its worst pair on both sides at once; no execution is that bad.
Here the adversary chooses in every step, from all it has seen, what the two data sets show, and the
smallest delta that no choice exceeds is bounded from above, for any number of steps; a policy that
is played from below says how much is left.

The idea. Losses accumulate on a line and a step is a convolution, so `k` steps of one fixed choice
cost as much as one. The *block theorem* says what the adversary can gain by deviating from that
choice within a block: one step's gain, seen at a few moments of the block, carried on by values
that are already known for fewer steps. The *lambda lemma* lets all triangles be looked at once per
block: whatever is no better than a combination of the base and its rivals at the start of the block
never is within it. With blocks of a fifth of what lies behind, ten million steps take some seventy.

Values are kept as positive measures in half-tilted units, `e^{s/2} V`: symmetric under exchange of
the data sets, monotone, free of cancellation. Every approximation replaces a measure by one that is
spread more widely, which only raises the value; every rounding is added as mass.

In the order of the argument:

- `steps`: what one step is; `cells`: the triangles of one step, covered by finitely many bounds.
- `laws`: losses of the base and its rivals, merged so that they are below the truth.
- `lattice`: dots and hats, closing by symmetry.
- `powers`: transforms of many steps, with the errors of aliases and rounding.
- `tents`, `phase`: gains against densities; the kernels of blocks.
- `cover`: what all triangles gain beyond a combination, at every loss.
- `upper`: one block; `attained`: the policy from below; `run`: a training; `planning`: the lattice.
- `bounds`: what callers use.

Source: `docs/theory/adaptive.md`, "The block theorem" and "The lower bound".
"""
