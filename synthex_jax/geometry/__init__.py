"""Frames, rigid motions, cameras and C-arms."""
