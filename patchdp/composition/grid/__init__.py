"""Composition on a grid of losses, from both sides: the gap between them is what the grid costs.

In the order of the work: `cells` integrates the mass of one step in half cells; `masses` shares it
among the points of a grid, above or below the true profile (`polygon` has the latter's geometry);
`layout` chooses a tilt and a spacing, `window` which points are kept; `fft` composes and bounds
every error, `composed` reads epsilons and deltas off; `prove` refines until both roundings agree,
`around` does so near one epsilon. `google` hands the same masses to dp-accounting's engine.
"""
