"""2D/3D registration: where a body is, from radiographs of it."""
