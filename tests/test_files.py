"""Files appear whole or not at all, and errors name them."""

import os

import pytest

from synthex_jax.files import existing, naming, written_whole


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "image.nii.gz"
    with written_whole(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert temporary.name.endswith("image.nii.gz")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["image.nii.gz"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "image.npy"
    path.write_text("old")

    def write_half():
        with written_whole(path) as temporary:
            temporary.write_text("ha")
            raise error("disk full")

    with pytest.raises(error, match="disk full"):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["image.npy"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    usual = tmp_path / "usual"
    usual.write_text("")
    with written_whole(tmp_path / "ours") as temporary:
        temporary.write_text("")
    assert (tmp_path / "ours").stat().st_mode == usual.stat().st_mode


def test_a_link_keeps_pointing(tmp_path):
    (tmp_path / "file").write_text("old")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    with written_whole(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_a_missing_folder_is_named(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="nowhere does not; create it first"),
        written_whole(tmp_path / "nowhere" / "image.png"),
    ):
        pass


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(ValueError, match="is a folder"), written_whole(tmp_path):
        pass


def test_a_missing_path_is_named_with_what_was_wanted(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"ct\.nii does not exist.*path of a CT"
    ):
        existing(tmp_path / "ct.nii", "a CT")


def test_a_relative_path_is_named_with_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"does not exist in {tmp_path}"):
        existing("ct.nii", "a CT")


def test_errors_get_the_path():
    with (
        pytest.raises(ValueError, match=r"ct\.nii: data must be finite"),
        naming("ct.nii"),
    ):
        raise ValueError("data must be finite")
