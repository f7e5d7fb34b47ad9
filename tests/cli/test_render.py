import subprocess
import sys

import nibabel
import numpy as np
import pytest
from PIL import Image

import synthex_jax as sx
from synthex_jax.phantoms.anatomy import Anatomy

REAL = ("CT", "--tier", "realistic")
# A detector that sees the box and air around it, at 24 x 32 pixels.
SMALL = ("--size", 24, 32, "--pitch", 8.0)


def test_png_is_a_radiograph(run, ct, tmp_path):
    result = run("render", ct, *SMALL, "--out", "ap.png")
    assert result.code == 0
    with Image.open(tmp_path / "ap.png") as picture:
        assert (picture.size, picture.mode) == ((32, 24), "L")
        pixels = np.asarray(picture)
    assert pixels[0, 0] == 0
    row, col = np.unravel_index(pixels.argmax(), pixels.shape)
    # AP: the ball, to the patient's left and above the center, is right and up.
    assert row < 12
    assert col > 16
    assert "view: AP, source at (0.0, 900.0, 0.0) mm" in result.out
    assert "24 x 32 pixels of 8 mm" in result.out
    assert "ap.png: 8 bits" in result.out


def test_raw_formats_hold_the_line_integrals(run, ct, tmp_path):
    for name in ("a.npy", "a.npz", "a.nii.gz"):
        assert run("render", ct, *SMALL, "--orbital", 30, "-o", name).code == 0
    body = sx.naive().tissues.composition(sx.Volume.from_nifti(ct)).attenuation(60.0)
    carm = sx.CArm.create(
        source_to_detector=1200.0, source_to_isocenter=900.0, pitch=8.0, shape=(24, 32)
    )
    camera = carm.at(orbital=np.deg2rad(30.0), isocenter=body.center)
    expected = sx.line_integrals(body, camera)

    image = np.load(tmp_path / "a.npy")
    np.testing.assert_allclose(image, expected, atol=1e-5)
    with np.load(tmp_path / "a.npz") as archive:
        np.testing.assert_array_equal(archive["image"], image)
        np.testing.assert_allclose(archive["K"], camera.K)
        np.testing.assert_allclose(
            archive["projection_matrix"], camera.projection_matrix, rtol=1e-5
        )
    nifti = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(nifti.dataobj)[:, :, 0].T, image)
    # Row 5, column 7 lies on the detector, where the camera says.
    where = nifti.affine @ [7, 5, 0, 1]
    expected_place = camera.back_project(np.array([5.0, 7.0]) + 0 * camera.pitch)
    np.testing.assert_allclose(where[:3], expected_place, atol=1e-3)


def test_water_attenuates_as_water(run, ct, tmp_path):
    run("render", ct, *SMALL, "-o", "a.npy", "--energy", 60)
    image = np.load(tmp_path / "a.npy")
    # 120 mm of water at 60 keV: 0.2059 cm^2/g (NIST XCOM). Below the ball, in the
    # middle, rays are within a percent of straight.
    assert image[14, 16] == pytest.approx(0.02059 * 120, rel=0.02)


def test_tiers(run, ct, tmp_path):
    given = ("render", ct, *SMALL, "-o", "a.npy")
    images = {}
    for tier in ("naive", "heuristic", "realistic"):
        result = run(*given, "--tier", tier)
        assert result.code == 0, result.error
        assert f"{tier}: " in result.out
        images[tier] = np.load(tmp_path / "a.npy")
    # Behind 120 mm of water: 0.13 of it is left above -130 HU.
    left = images["heuristic"][14, 16] / images["naive"][14, 16]
    np.testing.assert_allclose(left, 0.13, rtol=0.02)
    np.testing.assert_allclose(
        images["realistic"][14, 16], images["naive"][14, 16], rtol=0.2
    )


def test_realistic_options(run, ct, tmp_path):
    given = ("render", ct, *SMALL, "--tier", "realistic", "-o", "a.npy")
    given += ("--kvp", 90, "--filtration", "Al 4", "Cu 0.1", "--photons", 20000)
    raw = {}
    for seed, extra in [(0, ()), (0, ("--scatter",)), (1, ())]:
        result = run(*given, "--processing", "raw", "--seed", seed, *extra)
        assert result.code == 0, result.error
        raw[seed, extra] = np.load(tmp_path / "a.npy")
    assert "90 kVp behind Al 4, Cu 0.1 mm" in result.out
    assert "2e+04 photons a pixel (as asked)" in result.out
    assert "detector readings" in result.out
    plain, scattered, other = raw.values()
    # A small body and a grid: a few percent.
    assert scattered[8:16, 12:20].mean() > 1.02 * plain[8:16, 12:20].mean()
    assert not np.array_equal(plain, other)
    run(*given, "--processing", "raw")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), plain)  # seed 0


def test_display_is_for_looking(run, ct, tmp_path):
    size = ("--size", 64, "--pitch", 3.0)
    shown = ("--processing", "display", "-o", "a.png")
    result = run("render", ct, *size, "--tier", "realistic", *shown)
    assert result.code == 0, result.error
    assert "automatic exposure" in result.out
    with Image.open(tmp_path / "a.png") as picture:
        assert "gray values, black 0, white 1" in picture.text["Description"]
        assert np.asarray(picture).std() > 20


def test_picture_options(run, ct, tmp_path):
    given = ("render", ct, *SMALL, "--window", 0, 3)
    run(*given, "-o", "plain.png")
    run(*given, "-o", "inverted.png", "--invert")
    run(*given, "-o", "flipped.png", "--flip")
    run(*given, "-o", "deep.png", "--bits", 16)
    pixels = {}
    for name in ("plain", "inverted", "flipped", "deep"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert "black 0, white 3" in picture.text["Description"]
            pixels[name] = np.asarray(picture).astype(int)
    np.testing.assert_array_equal(pixels["inverted"], 255 - pixels["plain"])
    np.testing.assert_array_equal(pixels["flipped"], pixels["plain"][:, ::-1])
    assert pixels["deep"].max() > 255
    np.testing.assert_allclose(pixels["deep"] / 257, pixels["plain"], atol=0.51)


@pytest.mark.parametrize(
    ("view", "source"),
    [
        ("pa", "(0.0, -900.0, 0.0)"),
        ("left-lateral", "(900.0, 0.0, 0.0)"),
        ("right-lateral", "(-900.0, 0.0, 0.0)"),
    ],
)
def test_views_by_name(run, ct, view, source):
    result = run("render", ct, *SMALL, "--view", view)
    assert result.code == 0
    assert f"source at {source}" in result.out


def test_devices_and_their_changes(run, ct):
    result = run("render", ct, "--device", "loop-x", "--size", 20)
    assert "20 x 20 pixels of 20.8 x 20.8 mm, 1247 mm" in result.out
    result = run("render", ct, *SMALL, "--source-to-detector", 1000, "--prefilter")
    assert "1000 mm from the source" in result.out
    result = run("render", ct, *SMALL, "--isocenter", 10, -20, 30)
    assert "source at (10.0, 880.0, 30.0)" in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothere.nii"], "nothere.nii does not exist"),
        (["phantom-foot"], "one of phantom-pelvis, phantom-thorax, got phantom-foot"),
        (["CT", "-o", "a.jpg"], "--out must end in one of .png"),
        (["CT", "-o", "no/folder/a.png"], "--out must lie in a folder that exists"),
        (["CT", "-o", "a.npy", "--invert"], "--invert is for a picture"),
        (["CT", "--view", "ap", "--orbital", "3"], "--view ap sets the angles"),
        (["CT", "--size", "3", "4", "5"], "--size must be one or two numbers"),
        (["CT", "--pitch", "0"], "pitch must be positive"),
        (["CT", "--source-to-detector", "100"], "source_to_isocenter must be below"),
        (["CT", "--energy", "5000"], "energies must be between 5 and 160 keV"),
        (["CT", "--kvp", "90"], "--kvp is for --tier realistic, not for --tier naive"),
        (["CT", "--scatter"], "--scatter is for --tier realistic"),
        (["CT", "--scatter-model", "single"], "--scatter-model says how --scatter is"),
        ([*REAL, "--energy", "60"], "--energy is for --tier naive and heuristic"),
        ([*REAL, "--kvp", "300"], "kvp must be one number between 40 and 150 kVp"),
        ([*REAL, "--filtration", "Al"], "--filtration must be substances with mm"),
        ([*REAL, "--filtration", "Foil 3"], "material must be one of"),
        ([*REAL, "--filtration", "Al -3"], "must not be negative"),
        ([*REAL, "--photons", "0"], "photons must be positive"),
        ([*REAL, "--metal", "mithril"], "material must be one of"),
        (["CT", "--window", "3", "1", *map(str, SMALL)], "window must be"),
    ],
)
def test_errors_are_one_plain_line(run, ct, tmp_path, arguments, message):
    result = run("render", *(str(ct) if a == "CT" else a for a in arguments))
    assert result.code == 2
    last = result.error.strip().splitlines()[-1]
    assert last.startswith("synthex: error: ")
    assert message in last
    assert "Traceback" not in result.error
    assert not list(tmp_path.iterdir())


def test_a_broken_file_is_named(run, tmp_path_factory):
    broken = tmp_path_factory.mktemp("broken") / "ct.nii.gz"
    broken.write_bytes(b"no image")
    result = run("render", broken)
    assert result.code == 2
    assert "ct.nii.gz" in result.error


def test_unknown_views_are_refused(run, ct):
    result = run("render", ct, "--view", "oblique")
    assert result.code == 2
    assert "left-lateral" in result.error + result.out


def test_debug_shows_the_error(run):
    with pytest.raises(FileNotFoundError):
        run("render", "nothere.nii", "--debug")


def test_a_failed_write_leaves_the_old_file(run, ct, tmp_path, monkeypatch):
    (tmp_path / "a.npy").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("synthex_jax.cli.outputs.np.save", fail)
    result = run("render", ct, *SMALL, "-o", "a.npy")
    assert result.code == 2
    assert "disk full" in result.error
    assert (tmp_path / "a.npy").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_as_a_program(ct, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "synthex_jax.cli", "render", str(ct)]
        + [str(a) for a in (*SMALL, "-o", tmp_path / "x.png")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "rendered in" in done.stdout
    assert (tmp_path / "x.png").stat().st_size > 100


@pytest.mark.parametrize("name", ["pelvis", "thorax"])
def test_phantoms_by_name(run, ct, monkeypatch, name):
    asked = {}

    def made(key: object, *, shape: tuple[int, int, int], spacing: float) -> Anatomy:
        asked.update(shape=shape, spacing=spacing)
        body = sx.Volume.from_nifti(ct)
        return Anatomy(body, body, {})

    monkeypatch.setattr(f"synthex_jax.phantoms.{name}", made)
    result = run("render", f"phantom-{name}", *SMALL)
    assert result.code == 0
    assert asked == {"shape": (208, 144, 176), "spacing": 2.0}


def test_samples_by_name(run, ct, monkeypatch):
    monkeypatch.setattr(
        "synthex_jax.volumes.samples.chest", lambda: sx.Volume.from_nifti(ct)
    )
    assert run("render", "chest", *SMALL).code == 0

    def offline() -> sx.Volume:
        raise RuntimeError("the pelvis CT could not be downloaded")

    monkeypatch.setattr("synthex_jax.volumes.samples.pelvis", offline)
    result = run("render", "pelvis", *SMALL)
    assert result.code == 2
    assert "synthex: error: the pelvis CT could not" in result.error
