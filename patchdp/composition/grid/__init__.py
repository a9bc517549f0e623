"""Composition on a grid of losses."""
