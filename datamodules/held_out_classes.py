"""Classes in splits of labeled texts that were divided at random."""

from __future__ import annotations

from collections.abc import Iterable

Examples = list[tuple[str, str]]  # text and label

MAX_NAMES = 5  # classes that a message names


def keep_every_class(splits: dict[str, Examples]) -> list[str]:
    """Move a text of each class that was held out as a whole to the training texts.

    Args:
        splits: texts and labels of ``train``, ``test`` and ``val``, changed in place.

    Returns:
        The names of these classes, in the order of their texts.
    """
    trained = {label for _, label in splits["train"]}
    moved = []
    for name in ("test", "val"):
        for example in list(splits.get(name, [])):
            if example[1] not in trained:
                splits[name].remove(example)
                splits["train"].append(example)
                trained.add(example[1])
                moved.append(example[1])
    return moved


def name_classes(names: Iterable[str]) -> str:
    """Return the names of classes for a message, at most five."""
    names = list(names)
    text = ", ".join(repr(name[:40]) for name in names[:MAX_NAMES])
    return text if len(names) <= MAX_NAMES else f"{text} and {len(names) - MAX_NAMES:,} others"
