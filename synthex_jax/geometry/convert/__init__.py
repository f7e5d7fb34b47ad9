"""Converters between this library's cameras and the conventions of others.

Ours: the world is the patient in RAS+ mm; a camera looks along +z from the source to
the detector, +x along columns, +y along rows; pixel centers lie at integer (row,
column); the image is what the source sees, never mirrored.

Some conventions store the mirrored image, the one an observer at the detector sees.
There the converter's camera belongs to the stored image with its columns reversed
(``np.fliplr``), and says so; ``mirrored`` does the same to landmarks.

Every converter works on one view and is made of ``jax.numpy``: use ``jax.vmap`` for
many, ``jax.grad`` where you calibrate. ``docs/conventions.md`` shows each at work.
"""

from synthex_jax.geometry.convert.deepfluoro import from_deepfluoro, to_deepfluoro
from synthex_jax.geometry.convert.dicom import from_dicom_angles, to_dicom_angles
from synthex_jax.geometry.convert.matrices import (
    camera_from_lps,
    camera_to_lps,
    from_itk_euler,
    from_mirrored_projection,
    from_opencv,
    is_mirrored,
    mirrored,
    to_itk_euler,
    to_opencv,
)
from synthex_jax.geometry.convert.simulators import (
    from_deepdrr,
    from_deepdrr_angles,
    from_diffdrr,
    from_nanodrr,
    to_deepdrr,
    to_deepdrr_angles,
    to_diffdrr,
    to_nanodrr,
)

__all__ = [
    "camera_from_lps",
    "camera_to_lps",
    "from_deepdrr",
    "from_deepdrr_angles",
    "from_deepfluoro",
    "from_dicom_angles",
    "from_diffdrr",
    "from_itk_euler",
    "from_mirrored_projection",
    "from_nanodrr",
    "from_opencv",
    "is_mirrored",
    "mirrored",
    "to_deepdrr",
    "to_deepdrr_angles",
    "to_deepfluoro",
    "to_dicom_angles",
    "to_diffdrr",
    "to_itk_euler",
    "to_nanodrr",
    "to_opencv",
]
