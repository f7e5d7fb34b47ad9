import json
from functools import partial

import nibabel
import numpy as np
import pytest
from PIL import Image

import synthex_jax as sx
from synthex_jax.cli import outputs, poses
from synthex_jax.geometry.camera import Camera
from synthex_jax.radiographs.radiograph import Radiograph
from synthex_jax.registration import register as module
from synthex_jax.registration.pyramid import Level
from synthex_jax.registration.similarity import NCC
from synthex_jax.registration.status import Status
from synthex_jax.typing import Shape2
from tests.radiographs.dicoms import write

SHAPE: Shape2 = (48, 64)
DEVICE = {"source_to_detector": 1000.0, "source_to_isocenter": 700.0, "pitch": 4.0}
GIVEN = ("--source-to-detector", 1000, "--source-to-isocenter", 700, "--pitch", 4)
LEVELS = (Level.create(64, 4.0, tolerance=0.05, similarity=NCC()),)
# Around the box and in its ball.
POINTS = {
    "a": (-40, 50, -30),
    "b": (40, -50, -30),
    "c": (40, 50, 40),
    "d": (-35, -45, 40),
    "ball": (-26, 0, 12),
}


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    """A box with a dense ball and a bar: no two views of it look alike."""
    shape, spacing = (30, 40, 25), np.array([4.0, 4.0, 5.0])
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape) - 1) / 2 + [5.0, -10.0, 20.0]
    hu = np.full(shape, -1000, dtype=np.int16)
    hu[5:25, 5:35, 3:23] = 0
    hu[7:11, 17:22, 13:18] = 1500
    hu[14:22, 26:29, 6:8] = 1200
    path = tmp_path_factory.mktemp("ct") / "box.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hu, affine), path)
    return path


@pytest.fixture(scope="module")
def truth(body) -> Camera:
    center = sx.read_volume(body).center
    return sx.CArm.create(**DEVICE, shape=SHAPE).at(0.1, -0.05, 0.03, isocenter=center)


@pytest.fixture(scope="module")
def image(body, truth) -> np.ndarray:
    return np.asarray(sx.line_integrals(sx.read_volume(body).attenuation(), truth))


@pytest.fixture
def drawn(monkeypatch):
    """No pictures; the arguments of each call."""
    calls = []

    def pictures(folder, radiograph, body, found, *, animate):
        calls.append((radiograph, found, animate))
        return ["overlay.png"]

    monkeypatch.setattr(poses, "write_pictures", pictures)
    return calls


@pytest.fixture
def started(monkeypatch, drawn):
    """Registrations end where they start; the arguments of each."""
    calls = []

    def stay(fixed, body, start, **options):
        calls.append((fixed, start, options))
        return ended(body, start, Status.CONVERGED)

    monkeypatch.setattr(module, "register", stay)
    return calls


def ended(body, start, status):
    import jax.numpy as jnp

    return module.Registration(
        cameras=((start,),),
        status=jnp.asarray(int(status)),
        similarity=jnp.asarray(0.5),
        covariance=jnp.full((6, 6), jnp.inf),
        in_plane_std=jnp.full((1, 1), jnp.inf),
        depth_std=jnp.full((1, 1), jnp.inf),
        history=module.BodyHistory(
            level=jnp.zeros(0, int),
            cost=jnp.zeros(0),
            movement=jnp.zeros(0),
            world_from_camera=jnp.zeros((0, 1, 4, 4)),
        ),
    )


def pose_of(folder):
    return json.loads((folder / "pose.json").read_text())


def test_finds_the_pose_a_radiograph_was_rendered_at(
    run, body, truth, image, tmp_path, monkeypatch, drawn
):
    quick = partial(module.register, levels=LEVELS)
    monkeypatch.setattr(module, "register", quick)
    outputs.write(tmp_path / "x.npz", image, truth, kind="")
    off = ("--orbital", 0, "--isocenter", 9, -15, 24)
    result = run("register", body, "x.npz", *off)
    assert result.code == 0, result.error
    assert "x.npz: 48 x 64 pixels of 4 mm, 1000 mm from the source" in result.out
    assert "start: AP, as asked" in result.out
    assert "converged; " in result.out
    assert "mm in depth" in result.out
    assert "x_pose: pose.json, overlay.png" in result.out
    found = pose_of(tmp_path / "x_pose")
    assert found["status"] == "converged"
    assert found["columns_reversed"] is False
    # What it was rendered with, but for the last step, which is below 0.05 mm.
    carm = found["carm"]
    angles = [carm["orbital_deg"], carm["angular_deg"], carm["roll_deg"]]
    np.testing.assert_allclose(angles, np.rad2deg([0.1, -0.05, 0.03]), atol=0.1)
    np.testing.assert_allclose(
        found["world_from_camera"], truth.world_from_camera.matrix, atol=1.5
    )
    P = np.array(found["K"]) @ np.array(found["camera_from_world"])[:3]
    np.testing.assert_allclose(P, found["projection_matrix"], rtol=1e-4, atol=1e-2)
    ball = P @ [-26, -10, 38, 1]
    np.testing.assert_allclose(
        ball[:2] / ball[2],
        np.asarray(truth.project(np.array([-26.0, -10, 38]) + 0 * truth.source))[::-1],
        atol=0.1,
    )
    assert np.isfinite(found["covariance"]).all()
    assert found["depth_std_mm"] > found["in_plane_std_mm"] > 0
    assert found["options"]["isocenter"] == [9.0, -15.0, 24.0]
    assert found["versions"]["synthex_jax"] == sx.__version__


def test_an_archive_tells_the_start(run, body, truth, image, tmp_path, started):
    outputs.write(tmp_path / "x.npz", image, truth, kind="")
    result = run("register", body, "x.npz", "-o", "here", "--animate")
    assert result.code == 0, result.error
    assert "as x.npz tells" in result.out
    fixed, start, _ = started[0]
    np.testing.assert_allclose(
        start.projection_matrix, truth.projection_matrix, rtol=1e-4, atol=0.1
    )
    np.testing.assert_allclose(fixed, image, rtol=1e-6)
    found = pose_of(tmp_path / "here")
    carm = found["carm"]
    np.testing.assert_allclose(
        [carm["orbital_deg"], carm["angular_deg"], carm["roll_deg"]],
        np.rad2deg([0.1, -0.05, 0.03]),
        atol=1e-3,
    )
    np.testing.assert_allclose(carm["isocenter_mm"], [5, -10, 20], atol=1e-2)
    # What is not known is null, which JSON can say.
    assert found["depth_std_mm"] is None


def test_pictures_are_written(body, truth, image, tmp_path):
    pytest.importorskip("synthex_jax.viz.registration")
    volume = sx.read_volume(body).attenuation()
    found = ended(volume, truth, Status.CONVERGED)
    radiograph = Radiograph.create(image, camera=truth)
    # Without an iteration there is no way to show.
    names = poses.write_pictures(tmp_path, radiograph, volume, found, animate=True)
    assert names == ["overlay.png"]
    with Image.open(tmp_path / "overlay.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


@pytest.mark.parametrize("angles", [(0.4, 0.3, -0.2), (2.8, -0.4, 1.0), (-1.5, 0.1, 3)])
def test_carm_angles_lead_back_to_the_camera(angles):
    carm = sx.CArm.create(**DEVICE, shape=SHAPE)
    camera = carm.at(*angles, isocenter=[1.0, 2.0, 3.0])
    found = poses.carm_pose(camera, carm.source_to_isocenter)
    degrees = [found[f"{name}_deg"] for name in ("orbital", "angular", "roll")]
    again = carm.at(*np.deg2rad(degrees), isocenter=found["isocenter_mm"])
    np.testing.assert_allclose(
        again.world_from_camera.matrix, camera.world_from_camera.matrix, atol=1e-3
    )


def test_a_picture_with_its_device(run, body, truth, image, tmp_path, started):
    # A PA film, hung mirrored, and bone dark.
    center = sx.read_volume(body).center
    Image.fromarray((255 - image / image.max() * 255).astype(np.uint8)[:, ::-1]).save(
        tmp_path / "x.png"
    )
    mask = np.ones(SHAPE, np.uint8)
    mask[:, :5] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    result = run(
        "register", body, "x.png", *GIVEN, "--view", "pa", "--flip", "--values",
        "bone-dark", "--mask", "mask.png", "--search", "--search-rotation", 10,
        "--similarity", "patch-ncc",
    )  # fmt: skip
    assert result.code == 0, result.error
    assert "92% of them count; columns reversed" in result.out
    fixed, start, options = started[0]
    expected = sx.CArm.create(**DEVICE, shape=SHAPE).view("PA", isocenter=center)
    np.testing.assert_allclose(start.projection_matrix, expected.projection_matrix)
    assert np.corrcoef(np.ravel(fixed), image.ravel())[0, 1] > 0.999
    np.testing.assert_array_equal(options["weights"], mask[:, ::-1])
    assert options["search"].rotation == pytest.approx(np.deg2rad(10))
    assert options["search"].translation == 60
    assert type(options["similarity"]).__name__ == "PatchNCC"
    assert pose_of(tmp_path / "x_pose")["columns_reversed"] is True


def test_landmarks_give_the_start(run, body, truth, image, tmp_path, started):
    np.save(tmp_path / "x.npy", image)
    points = np.array(list(POINTS.values()), np.float32)
    pixels = np.asarray(truth.project(points + 0 * truth.source))
    with open(tmp_path / "3d.csv", "w") as file:
        file.write("name,x,y,z\n")
        file.writelines(f"{n},{x},{y},{z}\n" for n, (x, y, z) in POINTS.items())
    with open(tmp_path / "2d.csv", "w") as file:
        file.write("Name, Row, Col\nnowhere,1,2\n")
        rows = zip(POINTS, pixels, strict=True)
        file.writelines(f"{n},{r:.4f},{c:.4f}\n" for n, (r, c) in rows)
    marks = ("--landmarks-3d", "3d.csv", "--landmarks-2d", "2d.csv")
    result = run("register", body, "x.npy", *GIVEN, *marks)
    assert result.code == 0, result.error
    assert "from 5 landmarks that fit to 0.0 pixels rms" in result.out
    _, start, _ = started[0]
    np.testing.assert_allclose(start.source, truth.source, atol=1.0)
    # In a mirrored picture landmarks are where the file has them.
    np.save(tmp_path / "m.npy", image[:, ::-1])
    reversed_columns = (tmp_path / "2d.csv").read_text().splitlines()
    with open(tmp_path / "2d.csv", "w") as file:
        for line in reversed_columns:
            name, row, col = line.split(",")
            value = col if name in ("Name", "nowhere") else f"{63 - float(col):.4f}"
            file.write(f"{name},{row},{value}\n")
    result = run("register", body, "m.npy", *GIVEN, *marks, "--flip")
    np.testing.assert_allclose(started[1][1].source, truth.source, atol=1.0)
    result = run("register", body, "m.npy", *GIVEN, *marks, "--view", "ap")
    assert "the landmarks give the start" in result.error


def test_dicom_tells_where_from_and_which_side_is_left(run, body, tmp_path, started):
    numbers = np.linspace(0, 60000, 48 * 64).reshape(SHAPE).astype(np.uint16)
    tags = {
        "DistanceSourceToDetector": 1000,
        "ImagerPixelSpacing": [4, 4],
        "PositionerPrimaryAngle": 30,
        "PatientOrientation": ["L", "F"],
    }
    write(
        tmp_path / "x.dcm",
        numbers,
        "RF",
        PhotometricInterpretation="MONOCHROME1",
        **tags,
    )
    result = run("register", body, "x.dcm")
    assert result.code == 2
    assert (
        "x.dcm does not tell DistanceSourceToPatient: give --source-to-" in result.error
    )
    result = run("register", body, "x.dcm", "--source-to-isocenter", 700)
    assert result.code == 0, result.error
    # LAO 30: the detector in front and to the left, the source behind, to the right.
    _, start, _ = started[0]
    expected = np.array([5.0 + 350, -10 - 700 * np.cos(np.pi / 6), 20])
    np.testing.assert_allclose(start.source, expected, atol=1e-2)
    assert "columns reversed" in result.out
    # From in front, which options say, the left is to the right without reversal.
    away = ("--source-to-isocenter", 700, "--view")
    result = run("register", body, "x.dcm", *away, "ap")
    assert result.code == 0, result.error
    assert "columns reversed" not in result.out
    np.testing.assert_allclose(started[1][1].source, [5, 690, 20], atol=1e-2)
    assert "columns reversed" in run("register", body, "x.dcm", *away, "pa").out


@pytest.mark.parametrize("status", [Status.DIVERGED, Status.NO_OVERLAP])
def test_what_is_no_pose_ends_with_code_1(
    run, body, truth, image, tmp_path, monkeypatch, drawn, status
):
    outputs.write(tmp_path / "x.npz", image, truth, kind="")
    monkeypatch.setattr(
        module, "register", lambda fixed, body, start, **_: ended(body, start, status)
    )
    result = run("register", body, "x.npz")
    assert result.code == 1
    assert "this is no pose" in result.out
    assert pose_of(tmp_path / "x_pose")["status"] == status.name.lower()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.png"], "none.png does not exist"),
        (["x.png", "--view", "ap"], "give --pitch and --source-to-detector, or --dev"),
        (["x.png", "--device", "generic", "--view", "ap"], "of another shape than the"),
        (["x.png", "GIVEN"], "give --view or --orbital and --angular, or --landmarks"),
        (["x.png", "--pitch", "1", "--source-to-detector", "900", "--roll", "3"],
         "does not tell DistanceSourceToPatient: give --source-to-isocenter"),
        (["x.png", "--pitch", "0"], "--pitch must be positive mm"),
        (["x.png", "--view", "ap", "--roll", "3"], "--view ap sets the angles"),
        (["x.png", "GIVEN", "--frame", "2", "--view", "ap"], "leave out frame"),
        (["x.png", "GIVEN", "--view", "ap", "--mask", "small.png"], "--mask must have"),
        (["x.png", "--landmarks-3d", "a.csv"], "go together; give both"),
        (["x.png", "--search-rotation", "3"], "say how far --search goes"),
        (["x.png", "-o", "x.png"], "--out must be a folder"),
        (["x.png", "-o", "no/folder"], "--out must lie in a folder that exists"),
        (["x.png", "GIVEN", "--landmarks-3d", "3.csv", "--landmarks-2d", "2.csv"],
         "must share 4 names or more, they share a"),
        (["x.png", "GIVEN", "--landmarks-3d", "3.csv", "--landmarks-2d", "3.csv"],
         "3.csv: line 1 must name the columns: name,row,column"),
        (["x.png", "GIVEN", "--landmarks-3d", "3.csv", "--landmarks-2d", "bad.csv"],
         "bad.csv: line 2 must have numbers"),
        (["even.png", "GIVEN", "--view", "ap"], "image must show something"),
    ],
)  # fmt: skip
def test_errors_come_before_the_ct_is_read(run, tmp_path, arguments, message):
    pixels = np.arange(48 * 64, dtype=np.uint16).reshape(SHAPE)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    Image.fromarray(pixels[:5]).save(tmp_path / "small.png")
    Image.fromarray(0 * pixels).save(tmp_path / "even.png")
    (tmp_path / "3.csv").write_text("name,x,y,z\na,1,2,3\nb,3,4,5\n")
    (tmp_path / "2.csv").write_text("name,row,column\na,1,2\n")
    (tmp_path / "bad.csv").write_text("name,row,column\na,1,\n")
    before = sorted(tmp_path.iterdir())
    words = [w for a in arguments for w in (GIVEN if a == "GIVEN" else (a,))]
    result = run("register", "no-such-ct.nii", *words)
    assert result.code == 2
    assert message in result.error.strip().splitlines()[-1]
    assert "Traceback" not in result.error
    assert sorted(tmp_path.iterdir()) == before


def test_the_ct_must_be_there_too(run, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(8))
    result = run("register", "no-such-ct.nii", "x.npy", *GIVEN, "--view", "ap")
    assert "no-such-ct.nii does not exist" in result.error
