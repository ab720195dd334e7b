"""Target models of PyG batches: node classifiers of a graph, and meshes of any connectivity."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from zoo import attacks, plots
from zoo.attacks.base import Attack
from zoo.attacks.graphs import GRBCD, PRBCD, GreedyEdgeFlips, RandomEdgeFlips
from zoo.attacks.robustness import is_correct_on_batch
from zoo.core.classification import Classifier
from zoo.errors import InputError
from zoo.evaluation.robustness import AttackOutcome, AttackSpec, TargetModel
from zoo.evaluation.robustness_dense import VERTEX_SPECS
from zoo.functional.graphs import unique_undirected_edges

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_SHOWN = 5  # meshes in a figure
MAX_NODES_SHOWN = 100  # figures of larger graphs show the neighborhood of one node


class NodeTarget(TargetModel):
    """One graph with test nodes.

    Args:
        path, model, data, options: see :class:`~zoo.evaluation.robustness.TargetModel`.
        graph: PyG batch with the test nodes in ``mask``.
    """

    attack_specs: ClassVar = {
        "prbcd": AttackSpec(PRBCD, options=("steps", "seed"), steps_argument="epochs"),
        "grbcd": AttackSpec(GRBCD, options=("steps", "seed"), steps_argument="epochs"),
        "greedy": AttackSpec(GreedyEdgeFlips, options=("steps",), steps_argument="rounds"),
        "random": AttackSpec(RandomEdgeFlips, options=("seed",), threat_model="none"),
    }
    default_eps = (0.05, 0.1, 0.25)
    norms = ("flips",)
    sample_noun = "nodes"
    eps_units: ClassVar = {"flips": "flips, as a fraction of the edges"}
    distance_name = "flips"

    def __init__(self, path: str, model: Classifier, data: Any, options: Any, graph: Any) -> None:
        super().__init__(path, model, data, options)
        self.graph = graph.to(model.device)
        self.correct = is_correct_on_batch(model, self.graph)  # (test nodes,)
        self.num_samples = len(self.correct)
        self.clean_accuracy = float(self.correct.double().mean())

    def run_attack(self, attack: Attack, eps: float | None) -> AttackOutcome:
        attacked = attack.perturb_batch(self.model, self.graph)
        is_robust = is_correct_on_batch(self.model, attacked) & self.correct
        mask = self.graph.mask
        lost = torch.zeros_like(mask).masked_scatter(mask, self.correct & ~is_robust)
        edges = [unique_undirected_edges(graph.edge_index).T for graph in (self.graph, attacked)]
        unique, counts = torch.cat(edges).unique(dim=0, return_counts=True)
        flips = unique[counts == 1].T  # pairs that are an edge in only one of the graphs
        num_flips = flips.shape[1]
        title = f"{attack.name} on {self.title}, ε = {eps:g}: {num_flips} flips"
        make_figure = partial(self._figure, flips.cpu(), lost.cpu(), title)
        accuracy = float(is_robust.sum()) / self.num_samples
        return AttackOutcome(accuracy, float(num_flips), make_figure)

    def _figure(self, flips: Tensor, lost: Tensor, title: str) -> Figure:
        pairs, labels = unique_undirected_edges(self.graph.edge_index).cpu(), self.graph.y.cpu()
        shown = torch.arange(len(lost))
        if len(shown) > MAX_NODES_SHOWN and bool(lost.any()):
            num_flips = flips.flatten().bincount(minlength=len(lost))  # of each node
            center = ((1 + num_flips) * lost).argmax()[None]
            shown = neighborhood(torch.cat([pairs, flips], 1), center)
            title += f"\nneighborhood of one of {int(lost.sum())} newly misclassified nodes"
        index = torch.full((len(lost),), -1)
        index[shown] = torch.arange(len(shown))
        pairs, flips = (index[edges[:, (index[edges] >= 0).all(0)]] for edges in (pairs, flips))
        positions = plots.spring_layout(torch.cat([pairs, flips], 1), len(shown))
        return plots.flipped_edges(
            positions, pairs, flips, labels[shown], lost[shown], self.class_names, title
        )


def neighborhood(edges: Tensor, nodes: Tensor) -> Tensor:
    """Return the largest k-hop neighborhood of a node with at most ``MAX_NODES_SHOWN`` nodes.

    The 1-hop neighborhood is returned in full even if it is larger.

    Args:
        edges: pairs of nodes, (2, P).
        nodes: the node, (1,), or the neighborhood found so far.
    """
    grown = torch.cat([nodes, edges[:, torch.isin(edges, nodes).any(0)].flatten()]).unique()
    if len(grown) == len(nodes) or (len(grown) > MAX_NODES_SHOWN and len(nodes) > 1):
        return nodes
    return neighborhood(edges, grown)


class MeshTarget(TargetModel):
    """Meshes with their operators, in batches.

    Args:
        path, model, data, options: see :class:`~zoo.evaluation.robustness.TargetModel`.
        batches: PyG batches of the test meshes.
    """

    attack_specs: ClassVar = {
        **VERTEX_SPECS,
        "smooth": AttackSpec(attacks.SmoothPGD, options=("steps", "seed", "target")),
    }
    default_eps = (0.01, 0.02, 0.05)
    norms = ("point", "linf", "l2")
    sample_noun = "meshes"
    eps_units: ClassVar = {
        "point": "largest displacement of a vertex, √area = 1",
        "linf": "largest coordinate of a displacement, √area = 1",
        "l2": "L2, √area = 1",
    }
    distance_name = "displacement"

    def __init__(
        self, path: str, model: Classifier, data: Any, options: Any, batches: list[Any]
    ) -> None:
        super().__init__(path, model, data, options)
        if options.target is not None:  # meshes of the target class cannot be attacked
            batches = exclude_label(batches, options.target)
        self.batches = [batch.to(model.device) for batch in batches]
        self.num_samples = sum(len(batch.y) for batch in self.batches)
        self.correct = [is_correct_on_batch(model, batch) for batch in self.batches]
        self.clean_accuracy = sum(int(c.sum()) for c in self.correct) / self.num_samples

    def make_attacks(self, name: str, radii: list[Any]) -> Iterator[Attack]:
        yield from (attacks.MeshAttack(attack) for attack in super().make_attacks(name, radii))

    def run_attack(self, attack: Attack, eps: float | None) -> AttackOutcome:
        num_robust, distances, shown = 0, [], None
        for batch, correct in zip(self.batches, self.correct, strict=True):
            attacked = attack.perturb_batch(self.model, batch)
            is_robust = is_correct_on_batch(self.model, attacked) & correct
            num_robust += int(is_robust.sum())
            lengths = (attacked.pos - batch.pos).norm(dim=1).split(batch.ptr.diff().tolist())
            largest = torch.stack([length.amax() for length in lengths])
            distances.append(largest[correct & ~is_robust])
            shown = shown or (batch, attacked)
        assert shown is not None
        all_distances = torch.cat(distances)
        distance = float(all_distances.mean()) if len(all_distances) else float("nan")
        title = f"{attack.name} on {self.title}, ε = {eps:g}"
        make_figure = partial(self._figure, *shown, title)
        return AttackOutcome(num_robust / self.num_samples, distance, make_figure)

    def _figure(self, before: Any, after: Any, title: str) -> Figure:
        old, new = before.to_data_list()[:NUM_SHOWN], after.to_data_list()[:NUM_SHOWN]
        with torch.no_grad():
            (old_classes, old_captions), (new_classes, new_captions) = (
                self.predictions(self.model.logits(batch)) for batch in (before, after)
            )
        return plots.displaced_meshes(
            [mesh.pos for mesh in old], [mesh.pos for mesh in new], [mesh.face.T for mesh in old],
            old_captions[:NUM_SHOWN], new_captions[:NUM_SHOWN],
            (old_classes != new_classes).tolist(), title,
        )  # fmt: skip


def exclude_label(batches: list[Any], label: int) -> list[Any]:
    """Return the batches without the meshes of a class.

    Raises:
        InputError: no meshes remain.
    """
    from torch_geometric.data import Batch

    kept = [[mesh for mesh in b.to_data_list() if int(mesh.y) != label] for b in batches]
    if not any(kept):
        raise InputError(
            f"--target {label}: all test meshes already belong to this class, choose another"
        )
    return [Batch.from_data_list(meshes) for meshes in kept if meshes]


def make_structure_target(path: str, model: Classifier, data: Any, options: Any) -> TargetModel:
    """Return the target for a data module with PyG batches.

    Args:
        path, model, data, options: see :class:`~zoo.evaluation.robustness.TargetModel`.

    Raises:
        InputError: no attack supports the batches.
    """
    data.prepare_data()
    data.setup("test")
    batches = list(data.test_dataloader())
    first = batches[0]
    if options.other_models:
        raise InputError("--other_models works only with models of images or point clouds")
    if options.test_samples is not None:
        raise InputError(
            "--test_samples: graphs and sets of meshes are attacked as a whole, leave it out"
        )
    if "mask" in first and len(first.y) == first.num_nodes:
        return NodeTarget(path, model, data, options, first)
    if "face" in first and len(first.y) == len(first.ptr) - 1:
        return MeshTarget(path, model, data, options, batches)
    raise InputError(
        f"attacks need a classifier of nodes or of whole meshes, got {len(first.y)} labels for "
        f"{first.num_nodes} nodes from {type(data).__name__}"
    )
