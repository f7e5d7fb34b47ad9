"""Scattered radiation at the detector."""
