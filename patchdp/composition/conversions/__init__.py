"""From one way of stating privacy to another: Rényi curves, trade-off curves, groups of neighbours.

`renyi` reads epsilons off moments, `tradeoff` error rates off deltas (f-DP), and `group_privacy`
the privacy of several changed images off that of one.
"""
