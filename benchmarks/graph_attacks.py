"""Flipped edges against a GCN on Cora, and what helps.

The GCN of Kipf and Welling by the recipe ``gcn-planetoid``, once for each seed; its thousand test
nodes are attacked together, with flips of 5, 10 and 25 % of all edges.

* evasion: accuracy of the trained network on the changed graph;
* poisoning: accuracy of another network, trained on the graph that was changed for the first;
* filter: accuracy where edges between papers without a common word are taken away first;
* training: the same network trained against PRBCD with 10 % flips on every other step, on the known
  nodes alone, or on all nodes with the classes that the undefended network gives (Xu et al.,
  Topology attack and defense for graph neural networks, 2019, section 5.2); then attacked itself.
  The share of what the attack cost that is regained.

Needs Cora in the folder that ZOO_DATA names.
Run: python -m benchmarks.graph_attacks [evasion] [training]. Writes the section "Attacks on Cora"
of docs/results.md.
"""

from __future__ import annotations

import statistics
import sys
from copy import copy
from datetime import date
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor
from torch_geometric.data import Data

from benchmarks.loop import Best, elsewhere
from callbacks import AdversarialTraining
from datamodules import Planetoid
from zoo import create_model
from zoo.attacks import PurifiedModel, jaccard_filter
from zoo.attacks.graphs import GRBCD, PRBCD, GraphAttack, GreedyEdgeFlips, RandomEdgeFlips
from zoo.cli.commands.reproduce import PAGE, hardware, write_row
from zoo.core.quiet import silence_libraries
from zoo.core.speed import keep_freed_memory

SECTION = "Attacks on Cora"
HEADER = ("test nodes right", "5 %", "10 %", "25 %", "runs", "command")
BUDGETS = (0.05, 0.1, 0.25)
SEEDS, EPOCHS = 3, 200
KINDS: dict[str, Any] = {
    "random pairs": RandomEdgeFlips,
    "GreedyEdgeFlips": GreedyEdgeFlips,
    "GRBCD": GRBCD,
    "PRBCD": PRBCD,
}


class Changed(Planetoid):
    """Cora with other edges, or with other classes to learn from.

    Args:
        edges: (2, E), of all splits; default Cora's.
        classes: of all nodes, (N,), which training then learns; default the known ones.
    """

    def __init__(self, edges: Tensor | None = None, classes: Tensor | None = None) -> None:
        super().__init__(root=str(Planetoid().root.absolute()))
        self.edges, self.classes = edges, classes

    def split(self, name: str) -> Data:
        found = copy(super().split(name))
        if self.edges is not None:
            found.edge_index = self.edges
        if self.classes is not None and name == "train":
            found.y, found.mask = self.classes, torch.ones_like(found.mask)
        return found


def train(data: Planetoid, seed: int, against: AdversarialTraining | None = None) -> Any:
    """A network of the recipe, trained on a graph."""
    L.seed_everything(seed, verbose=False)
    model = create_model("gcn", "planetoid", num_features=1433, num_classes=7)
    best = Best("val/robust_accuracy" if against else "val/accuracy")
    with elsewhere():
        trainer = L.Trainer(
            max_epochs=EPOCHS, accelerator="cpu", callbacks=[*([against] if against else []), best],
            logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0,
            check_val_every_n_epoch=10 if against else 1,
        )  # fmt: skip
        trainer.fit(model, data)
    model.load_state_dict(best.weights)
    return model.eval()


@torch.no_grad()
def accuracy(model: Any, graph: Data) -> float:
    right = model.logits(graph).argmax(1) == graph.y
    return float(right[graph.mask].double().mean())


def record(what: str, runs: list[list[float]]) -> None:
    """A row of means and deviations, of one list of figures for each budget in every run."""
    columns = list(zip(*runs, strict=True))
    cells = [f"{statistics.mean(c):.3f} ± {statistics.stdev(c):.3f}" for c in columns]
    where = f"{len(runs)} seeds, {hardware()}, {date.today().isoformat()}"
    row = [what, *cells, where, "`python -m benchmarks.graph_attacks`"]
    print(" | ".join(row), flush=True)
    write_row(Path(PAGE), SECTION, HEADER, row)


def evasion() -> None:
    test = Changed().split("test")
    found: dict[str, list[list[float]]] = {}
    for seed in range(SEEDS):
        model = train(Changed(), seed)
        found.setdefault("no flips", []).append([accuracy(model, test)] * len(BUDGETS))
        for name, kind in KINDS.items():
            graphs = [kind(eps=eps)(model, test) for eps in BUDGETS]
            found.setdefault(f"evasion, {name}", []).append([accuracy(model, g) for g in graphs])
            print(seed, name, found[f"evasion, {name}"][-1], flush=True)
            if name in ("PRBCD", "random pairs"):
                filtered: Any = PurifiedModel(model, jaccard_filter)
                rows = [accuracy(filtered, g) for g in graphs]
                found.setdefault(f"evasion, {name}, Jaccard filter", []).append(rows)
                poisoned = (Changed(graph.edge_index) for graph in graphs)
                rows = [accuracy(train(d, seed + 100), d.split("test")) for d in poisoned]
                found.setdefault(f"poisoning, {name}", []).append(rows)
    for what, runs in found.items():
        record(what, runs)


def training() -> None:
    test = Changed().split("test")
    attack: GraphAttack = PRBCD(eps=0.1, epochs=5, block_size=20_000)
    found: dict[str, list[list[float]]] = {}
    for seed in range(SEEDS):
        plain = train(Changed(), seed)
        with torch.no_grad():
            said = plain.logits(test).argmax(1)
        train_split = Changed().split("train")
        classes = torch.where(train_split.mask, train_split.y, said)
        before = [accuracy(plain, PRBCD(eps=eps)(plain, test)) for eps in BUDGETS]
        clean = accuracy(plain, test)
        for name, labels in (("known nodes", None), ("all nodes, own classes", classes)):
            against = AdversarialTraining(attack, adversarial_fraction=0.5)
            model = train(Changed(classes=labels), seed, against)
            after = [accuracy(model, PRBCD(eps=eps)(model, test)) for eps in BUDGETS]
            regained = [(a - b) / (clean - b) for a, b in zip(after, before, strict=True)]
            print(seed, name, clean, accuracy(model, test), before, after, flush=True)
            for what, numbers in (
                ("no flips", [accuracy(model, test)] * len(BUDGETS)),
                ("evasion, PRBCD", after),
                ("evasion, PRBCD, share regained", regained),
            ):
                title = f"trained against PRBCD on {name}: {what}"
                found.setdefault(title, []).append(numbers)
    for what, runs in found.items():
        record(what, runs)


PARTS = {"evasion": evasion, "training": training}

if __name__ == "__main__":
    keep_freed_memory()
    silence_libraries()
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
