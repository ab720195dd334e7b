"""PyG batches: a graph whose nodes are classified, and meshes of any connectivity."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from zoo import attacks, plots
from zoo.attacks.base import Attack
from zoo.attacks.graphs import GRBCD, PRBCD, GreedyFlips, RandomFlips
from zoo.attacks.robustness import is_correct_on_batch
from zoo.core.classification import Classifier
from zoo.errors import InputError
from zoo.evaluation.robustness import AttackOutcome, AttackSpec, TargetModel
from zoo.functional.graphs import unique_undirected_edges

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 5  # meshes in a figure
LARGE = 100  # nodes of a graph of which a figure shows a part


class NodeTarget(TargetModel):
    """One graph; its test nodes are judged."""

    catalog: ClassVar = {
        "prbcd": AttackSpec(PRBCD, settings=("steps", "seed"), steps="epochs"),
        "grbcd": AttackSpec(GRBCD, settings=("steps", "seed"), steps="epochs"),
        "greedy": AttackSpec(GreedyFlips, settings=("steps",), steps="rounds"),
        "random": AttackSpec(RandomFlips, settings=("seed",), sight="nothing"),
    }
    budgets = (0.05, 0.1, 0.25)
    norms = ("flips",)
    what = "test nodes"
    units: ClassVar = {"flips": "flips, as a share of the edges"}
    distance = "flips"

    def __init__(self, path: str, model: Classifier, data: Any, options: Any, graph: Any) -> None:
        super().__init__(path, model, data, options)
        self.graph = graph.to(model.device)
        self.right = is_correct_on_batch(model, self.graph)  # (test nodes,)
        self.count, self.clean = len(self.right), float(self.right.double().mean())

    def under(self, attack: Attack, eps: float | None) -> AttackOutcome:
        found = attack.on_batch(self.model, self.graph)
        held = is_correct_on_batch(self.model, found) & self.right
        lost = torch.zeros_like(self.graph.mask).masked_scatter(self.graph.mask, self.right & ~held)
        both = torch.cat([unique_undirected_edges(g.edge_index).T for g in (self.graph, found)])
        unique, counts = both.unique(dim=0, return_counts=True)
        flips = unique[counts == 1].T  # what is in one of the two
        title = f"{attack.name} on {self.title}, ε = {eps:g}: {flips.shape[1]} flips"
        draw = partial(self._figure, flips.cpu(), lost.cpu(), title)
        return AttackOutcome(float(held.sum()) / self.count, float(flips.shape[1]), draw)

    def _figure(self, flips: Tensor, lost: Tensor, title: str) -> Figure:
        pairs, labels = unique_undirected_edges(self.graph.edge_index).cpu(), self.graph.y.cpu()
        every = torch.cat([pairs, flips], 1)
        shown = torch.arange(len(lost))
        if len(shown) > LARGE and bool(lost.any()):
            touched = flips.flatten().bincount(minlength=len(lost))
            shown = around(every, ((1 + touched) * lost).argmax()[None])
            title += f"\naround one of the {int(lost.sum())} nodes that it cost"
        number = torch.full((len(lost),), -1)
        number[shown] = torch.arange(len(shown))
        pairs, flips = (number[edges[:, (number[edges] >= 0).all(0)]] for edges in (pairs, flips))
        places = plots.spring_layout(torch.cat([pairs, flips], 1), len(shown))
        return plots.flipped_edges(
            places, pairs, flips, labels[shown], lost[shown], self.class_names, title
        )


def around(edges: Tensor, nodes: Tensor) -> Tensor:
    """Nodes, their neighbours, those of these, for as long as there are not too many."""
    near = torch.cat([nodes, edges[:, torch.isin(edges, nodes).any(0)].flatten()]).unique()
    if len(near) == len(nodes) or (len(near) > LARGE and len(nodes) > 1):
        return nodes
    return around(edges, near)


class MeshTarget(TargetModel):
    """Meshes with their operators, a batch at a time."""

    catalog: ClassVar = {
        "pgd": AttackSpec(attacks.PGD, fixed={"bounds": None}),
        "fgsm": AttackSpec(attacks.FGSM, settings=("norm", "target"), fixed={"bounds": None}),
        "bim": AttackSpec(attacks.BIM, settings=("norm", "steps", "target"), fixed={"bounds": None}),
        "smooth": AttackSpec(attacks.SmoothPGD, settings=("steps", "seed", "target")),
    }  # fmt: skip
    budgets = (0.01, 0.02, 0.05)
    norms = ("point", "linf", "l2")
    what = "meshes"
    units: ClassVar = {
        "point": "longest way of a vertex, √area = 1",
        "linf": "largest coordinate of a way, √area = 1",
        "l2": "L2, √area = 1",
    }
    distance = "longest way"

    def __init__(
        self, path: str, model: Classifier, data: Any, options: Any, batches: list[Any]
    ) -> None:
        super().__init__(path, model, data, options)
        if options.target is not None:  # those of the class itself have nothing to reach
            batches = exclude_label(batches, options.target)
        self.batches = [batch.to(model.device) for batch in batches]
        self.count = sum(len(batch.y) for batch in self.batches)
        self.right = [is_correct_on_batch(model, batch) for batch in self.batches]
        self.clean = sum(int(right.sum()) for right in self.right) / self.count

    def ready(self, name: str, budgets: list[Any]) -> Any:
        yield from (attacks.OnMeshes(attack) for attack in super().ready(name, budgets))

    def under(self, attack: Attack, eps: float | None) -> AttackOutcome:
        held, ways, shown = 0, [], None
        for batch, right in zip(self.batches, self.right, strict=True):
            found = attack.on_batch(self.model, batch)
            still = is_correct_on_batch(self.model, found) & right
            held += int(still.sum())
            way = (found.pos - batch.pos).norm(dim=1)
            longest = torch.stack([part.amax() for part in way.split(batch.ptr.diff().tolist())])
            ways.append(longest[right & ~still])
            shown = shown or (batch, found)
        assert shown is not None
        far = torch.cat(ways)
        title = f"{attack.name} on {self.title}, ε = {eps:g}"
        distance = float(far.mean()) if len(far) else float("nan")
        return AttackOutcome(held / self.count, distance, partial(self._figure, *shown, title))

    def _figure(self, before: Any, after: Any, title: str) -> Figure:
        old, new = before.to_data_list()[:SHOWN], after.to_data_list()[:SHOWN]
        with torch.no_grad():
            (first, said), (last, says) = (
                self.said(self.model.logits(batch)) for batch in (before, after)
            )
        return plots.displaced_meshes(
            [mesh.pos for mesh in old], [mesh.pos for mesh in new], [mesh.face.T for mesh in old],
            said[:SHOWN], says[:SHOWN], (first != last).tolist(), title,
        )  # fmt: skip


def exclude_label(batches: list[Any], label: int) -> list[Any]:
    """Batches without the meshes of a class.

    Raises:
        InputError: there are no others.
    """
    from torch_geometric.data import Batch

    kept = [[mesh for mesh in b.to_data_list() if int(mesh.y) != label] for b in batches]
    if not any(kept):
        raise InputError(f"--target {label}: all test meshes are of that class")
    return [Batch.from_data_list(meshes) for meshes in kept if meshes]


def make_structure_target(path: str, model: Classifier, data: Any, options: Any) -> TargetModel:
    """The victim for data whose batches are PyG's.

    Raises:
        InputError: batches that no attack here fits.
    """
    data.prepare_data()
    data.setup("test")
    batches = list(data.test_dataloader())
    first = batches[0]
    if options.others:
        raise InputError("--others compares models of images or clouds")
    if options.images is not None:
        raise InputError("--images: a graph, or a set of meshes, is attacked as a whole")
    if "mask" in first and len(first.y) == first.num_nodes:
        return NodeTarget(path, model, data, options, first)
    if "face" in first and len(first.y) == len(first.ptr) - 1:
        return MeshTarget(path, model, data, options, batches)
    raise InputError(
        f"attacks need a classifier of nodes or of whole meshes, {type(data).__name__} has "
        f"{len(first.y)} labels for {first.num_nodes} nodes"
    )
