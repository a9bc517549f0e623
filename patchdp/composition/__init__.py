"""MANY STEPS: a run of steps has one privacy loss, and somebody proves a number about it.

A step is a law of the privacy loss (`patchdp.step`); `T` independent steps add their losses, and
`delta(epsilon) = E[(1 - e^{epsilon - loss})_+]`. Four provers bound it from both sides:

* `closed_form`: one step, Gaussian steps, total variation: exact to the last digit;
* `transform/`: the moment generating function inverted on a line, with an error bar, where enough
  steps take part for the line to decay: milliseconds for any number of steps;
* `grid/`: masses on a grid, rounded up and rounded down, composed by FFT under a tilt: the rest;
* `coins`, `extremes`: quick bounds past the budget of work.

`prove` decides who answers, `certificate` is the answer. `estimate` steers searches and certifies
nothing; `persons` and `conversions/` turn one answer into another; `given` takes steps that are
known by certified values of their profile. Optimal composition, against the best adaptive
adversary, is in `optimal` with `triangles`, `value_iteration` and `attained`.

Theorems: `docs/theory.md` (many steps), `docs/theory/exact.md`, `docs/theory/optimal.md`.
"""
