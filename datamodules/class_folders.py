"""Training, validation and test splits of the files in a user's folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from datamodules.folder_tree import file_key, read_bytes
from datamodules.labeled_files import LabeledFiles
from datamodules.splits import choose_per_class, hold_out_stratified, take
from zoo.errors import DataError

SPLITS = ("train", "val", "test")


class ClassFolders(LabeledFiles):
    """A folder of the user's files, with or without class folders and official splits.

    See :class:`~datamodules.labeled_files.LabeledFiles` for the layouts and the arguments.
    """

    min_files = 3  # without split folders: one for each split

    def splits(
        self, seed: int, val_size: float, train_per_class: int | None = None
    ) -> dict[str, list[Path]]:
        """Return the files of the splits ``train``, ``val`` and ``test``.

        A split without a folder is held out from the training files: a tenth of them for testing,
        then ``val_size`` for validation, with the same fraction of each class.

        Args:
            seed: random seed of the splits.
            val_size: validation files, if they have no folder: a count (≥ 1) or a fraction (< 1) of
                the training files.
            train_per_class: number of training files per class, if the folder has no split
                folders; default None: nine tenths of all files.

        Raises:
            DataError: too few files, or a class that training does not have.
        """
        files = self.usable_files()
        parts = {
            name: [file.path for file in files if file.split == name] for name in (*SPLITS, None)
        }
        train, val, test = parts[None] or parts["train"], parts["val"], parts["test"]
        self._check_enough(train)
        if not test:
            train, test = self._hold_out_test(train, seed, train_per_class)
        if not val:
            rest, held_out = self.hold_out_validation(train, val_size, seed)
            train, val = take(train, rest), take(train, held_out)
        splits = {"train": train, "val": val, "test": test}
        for name, members in splits.items():
            self._warn_missing_classes(name, members)
        return splits

    def split_files(self, train: bool, seed: int, train_per_class: int | None = None) -> list[Path]:
        """Return the files of the training split, including validation, or of the test split.

        Args:
            train: True for the training split, False for the test split.
            seed, train_per_class: see ``splits``.

        Raises:
            DataError: see ``splits``.
        """
        splits = self.splits(seed, 0, train_per_class)
        return sorted(splits["train"] + splits["val"]) if train else splits["test"]

    def hold_out_validation(
        self, files: Sequence[Path], val_size: float, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Return the indices of the training and the validation files among ``files``, sorted.

        Args:
            files: files of the training split, including validation; see ``split_files``.
            val_size, seed: see ``splits``.

        Raises:
            DataError: no training file would remain.
        """
        in_val = {file.path for file in self._placed if file.split == "val"}
        is_val = torch.tensor([file in in_val for file in files])
        if is_val.any():
            return (~is_val).nonzero()[:, 0], is_val.nonzero()[:, 0]
        return hold_out_stratified(self._labels_of(files), val_size, seed)

    def training_keys(self, seed: int, train_per_class: int | None = None) -> list[int]:
        """Return the keys of the files for training and validation, see
        :func:`~datamodules.folder_tree.file_key`; files that cannot be read are left out."""
        files = self.split_files(True, seed, train_per_class)
        return sorted(file_key(file, read_bytes(file)) for file in files if file.is_file())

    def unused_files(
        self, used_keys: Collection[int], num_tested: int, keys: Mapping[Path, int] | None = None
    ) -> list[Path]:
        """Return the files to test a trained model on.

        These are the files in a test folder, else all that were not used in training. On the
        training data they are those of its test split.

        Args:
            used_keys: keys of the files that were used in training or validation.
            num_tested: number of files in the test split of the training data.
            keys: key of each file, if known; by default the files are read.

        Raises:
            DataError: all files were used in training, or a class is unknown.
        """
        files = self.usable_files()
        if not files:
            raise DataError(
                f"{self.path} has no {self.describe()} to test on; without labels, use predict"
            )
        paths = [file.path for file in files]
        tested = [file.path for file in files if file.split == "test"]
        if not tested:
            found = {path: self._key(path) for path in paths} if keys is None else keys
            used = set(used_keys)
            tested = [path for path in paths if found[path] not in used]
            if not tested:
                raise DataError(
                    f"all {len(paths)} {self.noun} of {self.path} were used in training: give "
                    "others with --data.path"
                )
            if len(tested) == len(paths):
                self.warn(
                    f"{self.path} is not the training data: all its {self.noun} are tested "
                    f"({len(tested)})"
                )
            elif len(tested) != num_tested:
                self.warn(
                    f"{self.path} has changed since training: the {self.noun} that were not used "
                    f"in training are tested ({len(tested)} of {len(paths)})"
                )
        self._warn_missing_classes("test", tested)
        return tested

    def _key(self, file: Path) -> int | None:
        """Return the key of a file, None for one that cannot be read, which is left out later."""
        return self.read_or_skip(lambda: file_key(file, read_bytes(file)))

    def _hold_out_test(
        self, files: Sequence[Path], seed: int, train_per_class: int | None
    ) -> tuple[list[Path], list[Path]]:
        if train_per_class is not None and not self.has_splits:
            self._check_per_class(files, train_per_class)
            train, test = choose_per_class(self._labels_of(files), train_per_class, seed)
            return take(files, train), take(files, test)
        if self.has_splits:
            self.warn(f"{self.path} has no test folder with {self.describe()}: a tenth of the "
                       f"training {self.noun}, chosen by the seed, is for testing")  # fmt: skip
        count = max(1, len(files) // 10)
        train, test = hold_out_stratified(self._labels_of(files), count, seed)
        return take(files, train), take(files, test)

    def _labels_of(self, files: Sequence[Path]) -> Tensor:
        return torch.tensor([self.label(file) for file in files])

    def _check_enough(self, train: Sequence[Path]) -> None:
        if not train and self.has_splits:
            raise DataError(f"{self.path} has no train folder with {self.describe()}")
        needed = 1 if self.has_splits else self.min_files
        if len(train) < needed:
            raise DataError(
                f"{self.path} has {len(train)} {self.describe()}; at least {needed} are needed"
            )

    def _check_per_class(self, files: Sequence[Path], count: int) -> None:
        for k, size in Counter(map(self.label, files)).items():
            if size <= count:
                folder = self.path / self.class_names[k] if self.class_names else self.path
                raise DataError(
                    f"{folder} has {size} {self.noun}: train_per_class={count} leaves none for "
                    "testing"
                )

    def _warn_missing_classes(self, split: str, files: Sequence[Path]) -> None:
        counts = Counter(self.label(file) for file in files)
        missing = [name for k, name in enumerate(self.class_names) if not counts[k]]
        if missing and files:
            self.warn(f"the {split} split has no {self.noun} of {', '.join(missing)}")
