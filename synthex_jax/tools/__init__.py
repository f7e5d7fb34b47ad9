"""Tools in the beam: meshes, solids, instruments, the continuum manipulator."""
