"""Composition by inverting the moment generating function of the loss on a vertical line.

`law` has the nodes of one step's loss, `tilted` their sums under a tilt, `line` the sampled line,
`saddle` where it is drawn, `strip` how finely; `estimates` reads values off it and `bar` bounds
everything that was left out; `prove` rounds to the safe side.
"""
