"""The poses of the SyntheX paper's data sets, as values.

Gao et al. 2022 (arXiv 2206.06127, version 1), sections 5.3.1 to 5.3.3. What is the
paper's and what had to be assumed is said of each. Distances and pixels of the C-arm
are ``CArm.cios_fusion``'s, but for the chest.
"""

from __future__ import annotations

from synthex_jax.geometry.carm import CArm
from synthex_jax.sampling.distributions import Normal, TruncatedNormal, Uniform
from synthex_jax.sampling.placements import CameraFacing
from synthex_jax.sampling.rigid import EulerRotation, RandomMotion
from synthex_jax.sampling.views import BodyMotion, CArmViews

# Mm. Not in the paper. The middle of the range of 450 to 1000 mm within which others
# draw poses for the real images of this device (xvr: Gopalakrishnan et al. 2025, arXiv
# 2503.16309). The detector of 298 mm sees 212 mm at that distance.
_HIP_DISTANCE = 725.0
_CIOS_TO_DETECTOR = 1020.0

# Mm a pixel. Not in the paper. At the middle distance of 500 mm a chest of 340 mm then
# fills 224 pixels: 340 * 1020 / 500 / 224.
_CHEST_PITCH = 3.1


def hip_views() -> BodyMotion:
    """The hip data set at scale: a CT turned and shifted at random.

    The paper's: rotation uniform in [-45, 45] degrees, translation uniform in
    [-50, 50] mm left-right, [-20, 20] mm inferior-superior and [-100, 100] mm
    anterior-posterior; the device.

    Assumed: one such angle about each of the three fixed axes, x first and z last,
    through the CT's center; an AP pose at zero, 725 mm between source and center.
    """
    turn = Uniform.degrees(-45.0, 45.0)
    shift = (
        Uniform.create(-50.0, 50.0),
        Uniform.create(-100.0, 100.0),
        Uniform.create(-20.0, 20.0),
    )
    motion = RandomMotion.create(EulerRotation.create((turn, turn, turn)), shift)
    return BodyMotion.create(motion, source_to_isocenter=_HIP_DISTANCE)


def clinical_hip_views() -> CArmViews:
    """Views spread as those of the real hip images are said to be.

    Of Grupp et al. 2020 (arXiv 1911.07042, fig. 5): orbital angles mostly within a
    range of 60 degrees, pelvic tilt mostly within one of 30 degrees.

    Assumed: both are bells about AP whose central 95 % are those ranges, cut at three
    standard deviations; roll of 5 degrees; an isocenter within 40 mm of the center to
    the sides and 30 mm along the body; 625 to 825 mm between source and isocenter,
    about the middle that ``hip_views`` has.
    """
    return CArmViews.create(
        orbital=TruncatedNormal.degrees(0.0, 15.0, low=-45.0, high=45.0),
        angular=TruncatedNormal.degrees(0.0, 7.5, low=-22.5, high=22.5),
        roll=TruncatedNormal.degrees(0.0, 5.0, low=-15.0, high=15.0),
        offset=(Uniform.create(-40.0, 40.0), 0.0, Uniform.create(-30.0, 30.0)),
        source_to_isocenter=Uniform.create(625.0, 825.0),
    )


def tool_views() -> CArmViews:
    """Views of the body that a tool is in, with the tool's anchor as their center.

    The paper's, there of the tool: LAO/RAO uniform in [-30, 30] degrees, CRAN/CAUD
    uniform in [-10, 10] degrees, 600 to 900 mm between source and isocenter.

    Assumed: that the body, a random CT behind the tool whose pose is not stated, is
    seen at angles of the same ranges. ``tool_placement`` has the tool's own.
    """
    return CArmViews.create(
        orbital=Uniform.degrees(-30.0, 30.0),
        angular=Uniform.degrees(-10.0, 10.0),
        source_to_isocenter=Uniform.create(600.0, 900.0),
    )


def tool_placement() -> CameraFacing:
    """The base pose of the continuum manipulator, about the isocenter of a view.

    The paper's: the angles of ``tool_views``, and a normal shift of 10 mm along each
    side of the image. With the isocenter of ``tool_views`` for an anchor the distance
    is the paper's too.

    Assumed: no roll and no shift along the ray, as neither is itemized. Replace
    ``roll`` for tools that enter from every side.
    """
    return CameraFacing.create(
        orbital=Uniform.degrees(-30.0, 30.0),
        angular=Uniform.degrees(-10.0, 10.0),
        shift=(Normal.create(0.0, 10.0), Normal.create(0.0, 10.0), 0.0),
    )


def chest_views() -> BodyMotion:
    """The COVID data set: a chest CT turned a little, near and far.

    The paper's: rotation uniform in [-5, 5] degrees about each of three axes, 350 to
    650 mm between source and isocenter. (Its shear is a deformation of the CT.)

    Assumed: fixed axes, x first and z last, through the CT's center; an AP pose at
    zero, which is how chest films are displayed, PA ones mirrored.
    """
    turn = Uniform.degrees(-5.0, 5.0)
    motion = RandomMotion.create(EulerRotation.create((turn, turn, turn)))
    return BodyMotion.create(motion, source_to_isocenter=Uniform.create(350.0, 650.0))


def chest_carm() -> CArm:
    """The detector of the COVID data set, 224 x 224 pixels.

    The paper's: the number of pixels; 1020 mm between source and detector.

    Assumed: pixels of 3.1 mm, with which a chest fits the image at the middle of the
    distances of ``chest_views``. The device's panel would show 100 to 190 mm of it.
    """
    return CArm.create(
        source_to_detector=_CIOS_TO_DETECTOR,
        source_to_isocenter=500.0,
        pitch=_CHEST_PITCH,
        shape=(224, 224),
    )
