"""Zachary's karate club."""

from __future__ import annotations

from typing import Any

import torch
from torch_geometric.data import Data

from datamodules.single_graph import GraphDataModule
from zoo.errors import check_choice

#: indices of the members who stayed with the instructor
INSTRUCTOR_FACTION = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21)
#: kind of labels → class names
LABELS = {"factions": ["instructor", "president"], "communities": ["1", "2", "3", "4"]}


class Karate(GraphDataModule):
    """Zachary's karate club: 34 members, 78 friendships, bundled with PyG.

    The node features are one-hot vectors: they identify a member and contain nothing else.

    Args:
        labels: ``factions`` (default): the two clubs after the split, with the instructor and the
            president for training; ``communities``: four groups found by modularity, with one
            member of each for training. All other members are for testing.
        **graph: see :class:`~datamodules.single_graph.GraphDataModule`.

    Raises:
        InputError: unknown labels.

    Sources: Zachary, An information flow model for conflict and fission in small groups, 1977; the
    communities as in Kipf and Welling, 2017.
    """

    def __init__(self, labels: str = "factions", **graph: Any) -> None:
        super().__init__(**graph)
        check_choice("labels", labels, LABELS)
        self.labels = labels

    @property
    def class_names(self) -> list[str]:
        return list(LABELS[self.labels])

    def load(self) -> Data:
        from torch_geometric.datasets import KarateClub

        club = KarateClub()[0]
        y, train_mask = club.y, club.train_mask
        if self.labels == "factions":
            y = torch.ones(34, dtype=torch.long)
            y[list(INSTRUCTOR_FACTION)] = 0
            train_mask = torch.zeros(34, dtype=torch.bool)
            train_mask[[0, 33]] = True  # the instructor and the president
        return Data(
            x=torch.eye(34), edge_index=club.edge_index, y=y, train_mask=train_mask,
            val_mask=torch.zeros(34, dtype=torch.bool), test_mask=~train_mask,
        )  # fmt: skip
