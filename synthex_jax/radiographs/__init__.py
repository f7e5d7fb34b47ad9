"""Measured radiographs: from files, as attenuation, with what counts and from where."""
