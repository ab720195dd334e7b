"""Token sequences of different lengths, bucketed by length and padded to the longest in a batch."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from datamodules.base import TensorDataModule, hold_out, stage_splits
from datamodules.loader import Batch, DistributedBatchSampler, TensorLoader
from datamodules.tokenized import MIN_UNKNOWN, SPLIT_NAMES
from zoo.functional.tokenization import PAD_ID, UNKNOWN_ID

BATCHES_PER_POOL = 50
MIN_LENGTH = 128  # shortest default length, for new texts that are longer than those of training

T = TypeVar("T")


class BucketBatchSampler(DistributedBatchSampler):
    """A sampler whose training batches contain sequences of nearly equal length.

    Each epoch's permutation is divided into pools of 50 batches. Each pool is sorted by length and
    cut into batches, and the batches are shuffled. Both the sequences in a batch and the order of
    the batches remain random.

    Args:
        lengths: lengths of the sequences (N,).
        **sampler: see :class:`~datamodules.loader.DistributedBatchSampler`.
    """

    def __init__(self, lengths: Tensor, **sampler: Any) -> None:
        super().__init__(len(lengths), **sampler)
        self.lengths = lengths

    def make_order(self, generator: torch.Generator) -> Tensor:
        order = super().make_order(generator)
        size = self.batch_size * self.world_size
        # the stable sort keeps sequences of equal length in their random order
        pools = [
            pool[self.lengths[pool].argsort(stable=True)]
            for pool in order.split(BATCHES_PER_POOL * size)
        ]
        batches = list(torch.cat(pools).split(size))
        full = batches if len(batches[-1]) == size else batches[:-1]
        shuffled = torch.randperm(len(full), generator=generator).tolist()
        return torch.cat([*(full[i] for i in shuffled), *batches[len(full) :]])


@dataclass(frozen=True)
class TokenCount:
    """Counts of texts and tokens.

    Args:
        texts: number of texts.
        cut: number of texts that were cut.
        tokens: number of tokens before texts were cut.
        kept: number of tokens that remain.
        unknown: number of the remaining tokens that are not in the vocabulary.
    """

    texts: int = 0
    cut: int = 0
    tokens: int = 0
    kept: int = 0
    unknown: int = 0

    def __add__(self, other: TokenCount) -> TokenCount:
        return TokenCount(*map(sum, zip(astuple(self), astuple(other), strict=True)))


def default_length(longest: int, bound: int) -> int:
    """Return the default number of tokens after which texts are cut.

    It is twice the length of the longest text, at least 128 and at most ``bound``.
    """
    return min(bound, max(MIN_LENGTH, 2 * longest))


def cut_rows(rows: list[list[int]], length: int) -> tuple[list[list[int]], TokenCount]:
    """Return the first ``length`` tokens of each row, and what was counted."""
    cut = [row[:length] for row in rows]
    count = TokenCount(
        len(rows),
        sum(len(row) > length for row in rows),
        sum(map(len, rows)),
        sum(map(len, cut)),
        sum(row.count(UNKNOWN_ID) for row in cut),
    )
    return cut, count


class TokenSequenceDataModule(TensorDataModule):
    """Token sequences of different lengths, padded with 0 to the longest in the batch.

    A subclass implements ``load_sequences(split)``. Batches are tuples: one matrix of tokens, int64
    (B, T), for each list of sequences, and the other tensors.

    Vocabularies, lengths and names of classes are learned from the training texts, and travel in
    checkpoints. Texts that are not those of the training are validated and tested as a whole.
    """

    _is_training = False

    def load_sequences(self, split: str) -> tuple[list[list[list[int]]], list[Tensor]]:
        """Return the lists of sequences of a split, and other tensors such as labels.

        Args:
            split: ``train``, ``val``, ``test``, or ``predict``: all texts of the user.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement load_sequences(split)")

    @property
    def source(self) -> str:
        """Name of the data in messages."""
        return type(self).__name__

    def fingerprint(self) -> str:
        """Return a hash of the texts, by which those of the training are recognized."""
        raise NotImplementedError(f"{type(self).__name__} does not implement fingerprint()")

    @property
    def has_training_data(self) -> bool:
        """True if these are the training texts."""
        return not self.has_loaded_state or self.fingerprint() == self.learned["fingerprint"]

    @property
    def is_split(self) -> bool:
        """True if the texts are divided into splits, as in training."""
        return self._is_training or self.has_training_data

    def hold_out_examples(
        self, examples: list[T], size: float, argument: str
    ) -> tuple[list[T], list[T]]:
        """Return the remaining and the held-out examples, chosen by the seed.

        Args:
            examples: examples to choose from.
            size: examples to hold out: a count (≥ 1) or a fraction (< 1).
            argument: name of the argument that gave ``size``, for the error message.

        Raises:
            DataError: no example would remain.
        """
        kept, held_out = hold_out(len(examples), size, self.seed, argument)
        return [examples[i] for i in kept.tolist()], [examples[i] for i in held_out.tolist()]

    def setup(self, stage: str | None = None) -> None:
        if stage == "fit":
            self._train_on_these_texts()
        new = [name for name in _splits_of(stage) if name not in self._splits]
        for name in new:
            sequences, others = self.load_sequences(name)
            tensors = (*map(pad, sequences), *others)
            self._splits[name] = tensors, torch.arange(len(tensors[0]))
        if new:
            self.report(new)

    def _train_on_these_texts(self) -> None:
        """Split texts that a trained model is trained on further, and remember them."""
        self._is_training = True
        if not self.has_training_data:
            self.say("not the training data: split again, with the vocabulary of the checkpoint")
            self._learned = {**self.learned, "fingerprint": self.fingerprint()}
            self._splits.clear()

    def report(self, splits: list[str]) -> None:
        """Say what was left out of or assumed about splits that have just been read."""

    def say_counts(self, count: TokenCount, texts: str, length: int, hint: str) -> None:
        """Say how many texts are cut, and how many tokens are unknown.

        Args:
            count: counts of the texts.
            texts: name of the texts.
            length: number of tokens after which they are cut.
            hint: advice at the end of the message.
        """
        if count.cut:
            self.say(
                f"{count.cut:,} of {count.texts:,} {texts} are cut at {length:,} tokens, which "
                f"keeps {count.kept / count.tokens:.1%} of all their tokens; {hint}"
            )
        share = count.unknown / max(1, count.kept)
        if share >= MIN_UNKNOWN:
            self.say(f"{share:.1%} of the tokens of the {texts} are not in the vocabulary")

    def say(self, text: str) -> None:
        """Warn about the data."""
        warnings.warn(f"{self.source}: {text}", stacklevel=3)

    def test_dataloader(self) -> Any:
        if len(self._stored("test")[1]):
            return self._loader("test")
        self.say("the test split is empty, so that nothing is tested; raise --data.test_size")
        return []

    def predict_dataloader(self) -> TensorLoader:
        self.setup("predict")
        return self._loader("predict")

    def make_sampler(
        self, split: str, num_samples: int, **settings: Any
    ) -> DistributedBatchSampler:
        if split != "train":
            return super().make_sampler(split, num_samples, **settings)
        # of several matrices, the last one determines the cost: it is the one that is predicted
        matrices = [t for t in self._splits[split][0] if t.ndim == 2]
        return BucketBatchSampler((matrices[-1] != PAD_ID).sum(1), **settings)

    def prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        return tuple(trim_padding(t).long() if t.ndim == 2 else t for t in batch)


def _splits_of(stage: str | None) -> tuple[str, ...]:
    return ("predict",) if stage == "predict" else stage_splits(stage)


def hash_texts(texts: Iterable[Any]) -> str:
    """Return a hash of texts or tuples of texts."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(repr(text).encode())
    return digest.hexdigest()


def name_splits(splits: Sequence[str]) -> str:
    """Return the names of splits for a message, such as *training and validation*."""
    return " and ".join(SPLIT_NAMES[split] for split in splits if split in SPLIT_NAMES)


def pad(sequences: Sequence[Sequence[int]]) -> Tensor:
    """Return sequences as a matrix int32 (N, T), padded with 0 to the longest."""
    if not sequences:
        return torch.empty(0, 0, dtype=torch.int32)
    rows = [torch.tensor(sequence, dtype=torch.int32) for sequence in sequences]
    return pad_sequence(rows, batch_first=True, padding_value=PAD_ID)


def trim_padding(tokens: Tensor) -> Tensor:
    """Return tokens (B, T) without the last columns that contain only padding, but at least one."""
    return tokens[:, : max(1, int((tokens != PAD_ID).sum(1).max()))]
