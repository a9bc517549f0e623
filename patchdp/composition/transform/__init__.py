"""Composition by inverting a transform on a line."""
