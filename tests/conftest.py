"""Hypothesis settings for the whole suite: the same examples for everyone, and no deadline.

`pytest --hypothesis-profile=explore` draws new ones.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "explore", parent=settings.get_profile("same"), derandomize=False, print_blob=True
)
settings.load_profile("same")
