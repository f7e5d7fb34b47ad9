"""Augmentation: geometry of labelled images and of labelled CTs."""
