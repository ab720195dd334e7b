"""Layouts of folders: splits, classes, nested, hidden and loose files."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch

from datamodules.class_folders import ClassFolders
from datamodules.splits import held_out_per_class, hold_out_stratified
from zoo.errors import DataError


def folders(top: Path, *files: str, on_error: str = "stop") -> ClassFolders:
    """Create empty files and return the class folders of ``top``."""
    for name in files:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return ClassFolders(top, {".png"}, "images", on_error)


def many(folder: str, count: int) -> list[str]:
    return [f"{folder}/{number:03d}.png" for number in range(count)]


def counts(found: ClassFolders, val_size: float = 0.25, seed: int = 0) -> dict[str, list[int]]:
    """Return the number of files of each class in each split."""
    splits = found.splits(seed, val_size)
    sizes = {name: Counter(map(found.label, files)) for name, files in splits.items()}
    classes = range(max(1, len(found.class_names)))
    return {name: [size[k] for k in classes] for name, size in sizes.items()}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("TRAIN", "VALIDATION", "TEST"),
        ("training", "validation", "testing"),
    ],
)
def test_split_folders_in_any_spelling(tmp_path: Path, train: str, val: str, test: str) -> None:
    files = [
        name
        for split, count in ((train, 5), (val, 2), (test, 3))
        for kind in ("cat", "dog")
        for name in many(f"{split}/{kind}", count)
    ]
    found = folders(tmp_path, *files)
    assert found.class_names == ["cat", "dog"]
    assert counts(found) == {"train": [5, 5], "val": [2, 2], "test": [3, 3]}


def test_split_folders_in_class_folders(tmp_path: Path) -> None:
    files = [
        name
        for kind in ("chair", "sofa")
        for split, count in (("train", 4), ("test", 2))
        for name in many(f"{kind}/{split}", count)
    ]
    found = folders(tmp_path, *files)
    assert found.class_names == ["chair", "sofa"]
    assert counts(found) == {"train": [3, 3], "val": [1, 1], "test": [2, 2]}


def test_without_a_test_folder_a_tenth_of_training_is_for_testing(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("train/cat", 20), *many("train/dog", 10), *many("val/cat", 3))
    with pytest.warns(UserWarning, match="images") as caught:
        assert counts(found) == {"train": [18, 9], "val": [3, 0], "test": [2, 1]}
    messages = [str(warning.message) for warning in caught]
    assert any("has no test folder with images in class folders: a tenth" in m for m in messages)
    assert "the val split has no images of dog" in messages


def test_only_a_training_folder(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("train/cat", 10), *many("train/dog", 10))
    assert found.class_names == ["cat", "dog"]
    with pytest.warns(UserWarning, match="no test folder"):
        sizes = counts(found, 1 / 3)
    assert sizes == {"train": [6, 6], "val": [3, 3], "test": [1, 1]}


def test_flat_split_folders_have_no_classes(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("train", 6), *many("val", 2), *many("test", 1))
    assert found.class_names == []
    assert counts(found) == {"train": [6], "val": [2], "test": [1]}


def test_an_unlabeled_test_folder_is_not_the_test_split(tmp_path: Path) -> None:
    """As in competitions, where the classes of the test images are not published."""
    found = folders(tmp_path, *many("train/cat", 10), *many("train/dog", 10), *many("test", 7))
    with pytest.warns(UserWarning, match="images") as caught:
        sizes = counts(found, 1 / 3)
    assert sizes == {"train": [6, 6], "val": [3, 3], "test": [1, 1]}
    messages = [str(warning.message) for warning in caught]
    assert any(
        m.startswith(
            "images outside class folders are left out (7): test/000.png, test/001.png, "
            "test/002.png and 4 more"
        )
        for m in messages
    )
    assert len(found.files) == 27  # to predict, all of them are used


def test_a_class_called_train(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("train", 4), *many("car", 4), *many("bus", 4))
    assert found.class_names == ["bus", "car", "train"]
    assert not found.has_splits


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("train", 3), *many("val", 3), *many("validation", 3))
    with pytest.raises(DataError, match="two folders for the val split, val and validation: merge"):
        found.splits(0, 0.1)


def test_folders_without_training_files_are_refused(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("test/cat", 3), *many("test/dog", 3))
    with pytest.raises(DataError, match="has no train folder with images in class folders"):
        found.splits(0, 0.1)


def test_other_folders_beside_the_splits_are_named(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("train/a", 3), *many("test/a", 3), *many("extra/a", 2), "x.png")
    with pytest.warns(
        UserWarning,
        match=r"^images outside the split folders are left out \(3\): extra/a/000\.png, "
        r"extra/a/001\.png, x\.png$",
    ):
        found.splits(0, 0.4)


def test_subfolders_belong_to_their_class(tmp_path: Path) -> None:
    found = folders(
        tmp_path, *many("cat", 3), *many("cat/kittens/small", 3), *many("dog/puppies", 4)
    )
    assert found.class_names == ["cat", "dog"]
    assert {found.label(file) for file in found.files if "cat" in file.parts} == {0}
    assert sum(map(len, found.splits(0, 0.2).values())) == 10


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    found = folders(
        tmp_path, *many("cat", 3), *many("dog", 3), "cat/._000.png", "cat/.ipynb_checkpoints/x.png",
        ".ipynb_checkpoints/x.png", "__MACOSX/cat/000.png", "@eaDir/000.png",
    )  # fmt: skip
    with pytest.warns(UserWarning, match="^images in hidden files and folders are left out: 5$"):
        assert found.class_names == ["cat", "dog"]
    assert len(found.files) == 6


def test_other_files_are_counted(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("cat", 3), "cat/a.heic", "cat/b.HEIC", "notes.txt", "cat/scan")
    with pytest.warns(
        UserWarning,
        match=r"^files that are not images are left out: \.heic \(2\), \.txt \(1\), "
        r"without a suffix \(1\)$",
    ):
        _ = found.files


def test_loose_files_beside_class_folders_are_named(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("cat", 5), *many("dog", 5), "a.png", "b.png")
    with pytest.warns(
        UserWarning,
        match=r"^images outside class folders are left out \(2\): a\.png, b\.png$",
    ):
        found.splits(0, 0.2)


def test_empty_class_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "bird").mkdir()
    found = folders(tmp_path, *many("cat", 5), *many("dog", 5))
    assert found.class_names == ["cat", "dog"]
    with pytest.warns(UserWarning, match="^class folders without images are left out: bird$"):
        found.splits(0, 0.2)


def test_classes_that_a_split_lacks_are_named(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("cat", 20), *many("dog", 2), *many("emu", 1))
    with pytest.warns(UserWarning, match="images") as caught:
        sizes = counts(found, 0.2)
    assert sizes == {"train": [15, 1, 1], "val": [4, 0, 0], "test": [1, 1, 0]}
    messages = {str(warning.message) for warning in caught}
    assert "the test split has no images of emu" in messages
    assert "the val split has no images of dog, emu" in messages


def test_a_rare_class_is_in_every_split(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("a", 300), *many("b", 30), *many("c", 3))
    for seed in range(5):
        sizes = counts(found, 0.1, seed)
        assert sizes["test"] == [29, 3, 1]
        assert sizes["val"] == [27, 2, 1]
        assert sizes["train"] == [244, 25, 1]


def test_a_class_one_folder_further_down_is_suggested(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("pets/cat", 3), *many("pets/dog", 3))
    with pytest.raises(
        AttributeError,
        match=r"has 1 class folder; at least 2 are needed; did you "
        r"mean --data\.path .*/pets\?$",
    ):
        _ = found.num_classes


def test_links(tmp_path: Path) -> None:
    files = [*many("elsewhere/cat", 3), *many("top/dog", 3)]
    folders(tmp_path, *files)
    (tmp_path / "top" / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    (tmp_path / "top" / "dog" / "loop").symlink_to(tmp_path / "top")
    (tmp_path / "elsewhere" / "cat" / "back").symlink_to(tmp_path / "top")
    found = folders(tmp_path / "top")
    assert found.class_names == ["cat", "dog"]
    assert len(found.files) == 6


def test_unusable_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere \(--data.path\)"):
        _ = folders(tmp_path / "nowhere").files
    (tmp_path / "x.png").touch()
    with pytest.raises(DataError, match=r"x\.png is not a folder: give the folder that contains"):
        _ = folders(tmp_path / "x.png").files
    with pytest.raises(DataError, match=r"has 0 images \(\.png\); it has files \.heic \(1\)"):
        _ = folders(tmp_path / "phone", "1.heic").files


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can read every folder")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("cat", 3))
    (tmp_path / "cat").chmod(0)
    with pytest.raises(DataError, match="cat cannot be read: Permission denied"):
        _ = found.files
    (tmp_path / "cat").chmod(0o755)


def test_held_out_counts_are_proportional_and_exact() -> None:
    assert held_out_per_class([300, 30, 3], 33) == [29, 3, 1]
    assert held_out_per_class([20, 20], 4) == [2, 2]
    assert held_out_per_class([5, 5, 5], 2) == [1, 1, 0]
    assert held_out_per_class([10, 1], 2) == [2, 0]
    assert held_out_per_class([1], 0) == [0]
    for sizes in ([7, 5, 3, 2], [100, 1, 1, 1], [2, 2, 2, 90]):
        for count in range(sum(sizes)):
            found = held_out_per_class(sizes, count)
            assert sum(found) == count
            assert all(0 <= n <= size for n, size in zip(found, sizes, strict=True))


def test_one_class_is_split_as_without_classes() -> None:
    from datamodules.base import hold_out

    for seed in range(3):
        ours = hold_out_stratified(torch.zeros(50, dtype=torch.int64), 0.3, seed)
        assert all(map(torch.equal, ours, hold_out(50, 0.3, seed)))


def test_warnings_are_given_once(tmp_path: Path) -> None:
    found = folders(tmp_path, *many("cat", 5), *many("dog", 5), "a.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found.splits(0, 0.2)
        found.splits(0, 0.2)
    assert len([w for w in caught if "a.png" in str(w.message)]) == 1
