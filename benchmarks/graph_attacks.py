"""Edge-flip attacks on a GCN on Cora, and two defenses.

The GCN of Kipf and Welling is trained by the recipe ``gcn-planetoid``, once per seed. Its thousand
test nodes are attacked together, with flips of 5, 10 and 25% of all edges. Test accuracy:

* evasion: of the trained network on the perturbed graph;
* poisoning: of a new network trained on the graph that was perturbed for the first one;
* Jaccard filter: of the trained network, with edges removed that join papers without a common word;
* training: of the network trained adversarially and then attacked itself. PRBCD flips 10% of the
  edges in every other step; the loss covers the labeled nodes, or all nodes with the classes that
  the undefended network predicts (Xu et al., Topology attack and defense for graph neural networks,
  2019, section 5.2). Also the fraction of the lost accuracy that training recovers.

Needs Cora in the folder given by ZOO_DATA. Writes the section "Attacks on Cora" of docs/results.md.

Hardware: CPU. Run: python -m benchmarks.graph_attacks [evasion] [training]
"""

from __future__ import annotations

import sys
from copy import copy
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor
from torch_geometric.data import Data

from benchmarks.common import BestWeights, fit, mean_and_std, run_parts, write_result
from callbacks import AdversarialTraining
from datamodules import Planetoid
from zoo import create_model
from zoo.attacks import PurifiedModel, jaccard_filter
from zoo.attacks.graphs import GRBCD, PRBCD, GraphAttack, GreedyEdgeFlips, RandomEdgeFlips
from zoo.core.quiet import silence_libraries

SECTION = "Attacks on Cora"
HEADER = ("test accuracy under edge flips", "5%", "10%", "25%", "runs", "command")
BUDGETS = (0.05, 0.1, 0.25)
SEEDS, EPOCHS = 3, 200
ATTACKS: dict[str, Any] = {
    "random pairs": RandomEdgeFlips,
    "GreedyEdgeFlips": GreedyEdgeFlips,
    "GRBCD": GRBCD,
    "PRBCD": PRBCD,
}


class ChangedCora(Planetoid):
    """Cora with other edges, or with other labels in training.

    Args:
        edge_index: edges of all splits, (2, E); default Cora's.
        labels: class indices of all nodes, (N,), all used in training; default the labels of
            Cora's training nodes.
    """

    def __init__(self, edge_index: Tensor | None = None, labels: Tensor | None = None) -> None:
        super().__init__()
        self.edge_index, self.labels = edge_index, labels

    def split(self, name: str) -> Data:
        graph = copy(super().split(name))
        if self.edge_index is not None:
            graph.edge_index = self.edge_index
        if self.labels is not None and name == "train":
            graph.y, graph.mask = self.labels, torch.ones_like(graph.mask)
        return graph


def train(data: Planetoid, seed: int, defense: AdversarialTraining | None = None) -> Any:
    """Train the recipe's network on a graph, and return it with the weights of its best epoch."""
    L.seed_everything(seed, verbose=False)
    model = create_model("gcn", "planetoid", num_features=1433, num_classes=7)
    best = BestWeights("val/robust_accuracy" if defense else "val/accuracy")
    callbacks = [defense, best] if defense else [best]
    every = 10 if defense else 1
    fit(model, data, EPOCHS, *callbacks, limit_val_batches=None, check_val_every_n_epoch=every)
    model.load_state_dict(best.weights)
    return model.eval()


@torch.no_grad()
def accuracy(model: Any, graph: Data) -> float:
    correct = model.logits(graph).argmax(1) == graph.y
    return float(correct[graph.mask].double().mean())


def record(name: str, runs: list[list[float]]) -> None:
    """Write a row with the mean and standard deviation over runs for each budget.

    Args:
        name: name of the row.
        runs: for each run, one value per budget.
    """
    cells = [mean_and_std(values) for values in zip(*runs, strict=True)]
    command = "python -m benchmarks.graph_attacks"
    write_result(SECTION, HEADER, [name, *cells], f"{len(runs)} seeds", command)


def benchmark_evasion() -> None:
    test = ChangedCora().split("test")
    found: dict[str, list[list[float]]] = {}
    for seed in range(SEEDS):
        model = train(ChangedCora(), seed)
        found.setdefault("no flips", []).append([accuracy(model, test)] * len(BUDGETS))
        for name, attack in ATTACKS.items():
            graphs = [attack(eps=eps)(model, test) for eps in BUDGETS]
            found.setdefault(f"evasion, {name}", []).append([accuracy(model, g) for g in graphs])
            print(seed, name, found[f"evasion, {name}"][-1], flush=True)
            if name in ("PRBCD", "random pairs"):
                filtered: Any = PurifiedModel(model, jaccard_filter)
                values = [accuracy(filtered, g) for g in graphs]
                found.setdefault(f"evasion, {name}, Jaccard filter", []).append(values)
                poisoned = (ChangedCora(graph.edge_index) for graph in graphs)
                values = [accuracy(train(d, seed + 100), d.split("test")) for d in poisoned]
                found.setdefault(f"poisoning, {name}", []).append(values)
    for name, runs in found.items():
        record(name, runs)


def benchmark_training() -> None:
    test = ChangedCora().split("test")
    attack: GraphAttack = PRBCD(eps=0.1, epochs=5, block_size=20_000)
    found: dict[str, list[list[float]]] = {}
    for seed in range(SEEDS):
        undefended = train(ChangedCora(), seed)
        with torch.no_grad():
            predicted = undefended.logits(test).argmax(1)
        train_split = ChangedCora().split("train")
        labels = torch.where(train_split.mask, train_split.y, predicted)
        before = [accuracy(undefended, PRBCD(eps=eps)(undefended, test)) for eps in BUDGETS]
        clean = accuracy(undefended, test)
        for nodes, node_labels in (("labeled nodes", None), ("all nodes", labels)):
            defense = AdversarialTraining(attack, adversarial_fraction=0.5)
            model = train(ChangedCora(labels=node_labels), seed, defense)
            after = [accuracy(model, PRBCD(eps=eps)(model, test)) for eps in BUDGETS]
            recovered = [(a - b) / (clean - b) for a, b in zip(after, before, strict=True)]
            print(seed, nodes, clean, accuracy(model, test), before, after, flush=True)
            for metric, values in (
                ("no flips", [accuracy(model, test)] * len(BUDGETS)),
                ("evasion, PRBCD", after),
                ("evasion, PRBCD, fraction recovered", recovered),
            ):
                name = f"trained against PRBCD on {nodes}: {metric}"
                found.setdefault(name, []).append(values)
    for name, runs in found.items():
        record(name, runs)


PARTS = {"evasion": benchmark_evasion, "training": benchmark_training}


def main(parts: list[str]) -> None:
    silence_libraries()
    run_parts(PARTS, parts)


if __name__ == "__main__":
    main(sys.argv[1:])
