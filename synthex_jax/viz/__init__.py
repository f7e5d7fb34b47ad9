"""Pictures: radiographs, contact sheets, geometry in 3-D, overlays, animations.

Every function returns an array or a `matplotlib.figure.Figure` of its own: none uses
pyplot, opens a window or needs a display. A notebook shows a returned figure by
itself after ``%matplotlib inline``; ``figure.savefig(path)`` writes it.
"""

from synthex_jax.viz.animation import sweep
from synthex_jax.viz.annotated import annotated
from synthex_jax.viz.display import (
    robust_window,
    to_display,
    to_uint8,
    to_uint16,
)
from synthex_jax.viz.geometry import geometry
from synthex_jax.viz.layers import overlay, signed
from synthex_jax.viz.orientation import EdgeLetters, edge_letters, view_name
from synthex_jax.viz.pictures import contact_sheet, radiograph
from synthex_jax.viz.registration import (
    convergence,
    registration_animation,
    registration_overlay,
)

__all__ = [
    "EdgeLetters",
    "annotated",
    "contact_sheet",
    "convergence",
    "edge_letters",
    "geometry",
    "overlay",
    "radiograph",
    "registration_animation",
    "registration_overlay",
    "robust_window",
    "signed",
    "sweep",
    "to_display",
    "to_uint8",
    "to_uint16",
    "view_name",
]
