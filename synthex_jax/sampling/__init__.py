"""Sampling: distributions, views, placements, and rejection by visibility."""
