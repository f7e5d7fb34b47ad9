"""Synthesis: labelled data sets written at scale, and read again."""
