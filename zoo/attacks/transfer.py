"""Attacks on one model that were made for another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.attacks.base import Attack, ScoreFunction, as_normal_tensor, frozen_eval
from zoo.attacks.goals import Goal
from zoo.errors import InputError
from zoo.networks.conv_stack import ConvStack


class Transferred(Attack):
    """An attack on a substitute, whose samples are then given to the model. Gray box: it sees no
    score of the model, whatever it knows of the substitute.

    Args:
        attack: any, with the substitute as its model. It does not stop early: what has just
            crossed the boundary of one model has seldom crossed that of another.
        substitute: what the attack sees.
    """

    def __init__(self, attack: Attack, substitute: Any) -> None:
        if getattr(attack, "early_stop", False):
            settings: Any = attack
            attack = replace(settings, early_stop=False)
        self.attack, self.substitute = attack, substitute

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        with frozen_eval(self.substitute):
            return self.attack.perturb(ScoreFunction(self.substitute, goal.y), x, goal)

    def with_eps(self, eps: float) -> Attack:
        return Transferred(self.attack.with_eps(eps), self.substitute)

    @property
    def name(self) -> str:
        return f"{self.attack.name} (transferred)"


@dataclass(frozen=True, kw_only=True)
class TransferAttack:
    """Trains a substitute on what a model says, then attacks that. Black box: it asks for classes.

    A few samples without labels are given to the model; a network learns the classes that it names.
    Then each sample gets a neighbour, x + λ sign(∂z_c/∂x) with c the class named for x and z the
    substitute's scores, which the model is asked about in turn: where the substitute is sensitive,
    it learns most. Rounds double the samples until the queries are spent.

    ``fit(model, x)`` gives the attack.

    Args:
        attack: that the substitute is attacked with.
        queries: of the model in all, default 10,000.
        rounds: of new neighbours, default 4: the first ``queries / 2^rounds`` of the given samples
            are used.
        reach: λ, default 0.1; its sign changes with every round.
        epochs: of training in each round, default 10, with Adam at 1e-3 and batches of 128.
        make_network: (shape of a sample, classes) → substitute, default a small convolutional
            network for images and an MLP for everything else.
        bounds: of samples, default (0, 1).
        seed: of weights and batches, default 0.

    Raises:
        InputError: no sample.

    Source: Papernot et al., Practical black-box attacks against machine learning, 2017, section 4.
    """

    attack: Attack
    queries: int = 10_000
    rounds: int = 4
    reach: float = 0.1
    epochs: int = 10
    make_network: Callable[[torch.Size, int], nn.Module] | None = None
    bounds: tuple[float, float] = (0.0, 1.0)
    seed: int = 0

    def fit(self, model: Any, x: Tensor) -> Transferred:
        """Trains the substitute on a model's answers about samples like ``x``, (N, ...)."""
        x = as_normal_tensor(x)[: max(1, self.queries // 2**self.rounds)]
        if not len(x):
            raise InputError("TransferAttack needs samples to ask the model about")
        with frozen_eval(model), torch.random.fork_rng():
            torch.manual_seed(self.seed)
            answers = ScoreFunction(model)
            classes, count = self._ask(answers, x)
            network = (self.make_network or small_network)(x.shape[1:], count).to(x)
            for number in range(self.rounds + 1):
                self._train(network, x, classes)
                room = self.queries - answers.queries
                if number == self.rounds or room <= 0:
                    break
                sign = 1 if number % 2 == 0 else -1
                new = self._neighbors(network, x[:room], classes[:room], sign)
                x, classes = torch.cat([x, new]), torch.cat([classes, self._ask(answers, new)[0]])
        return Transferred(self.attack, network.eval().requires_grad_(False))

    @staticmethod
    def _ask(answers: ScoreFunction, x: Tensor) -> tuple[Tensor, int]:
        """The classes that the model names, and how many it knows."""
        with torch.no_grad():
            scores = torch.cat([answers(part) for part in x.split(500)])
        return scores.argmax(1), scores.shape[1]

    def _train(self, network: nn.Module, x: Tensor, classes: Tensor) -> None:
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        network.train()
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x), device=x.device).split(128):
                loss = F.cross_entropy(network(x[rows]), classes[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        network.eval()

    def _neighbors(self, network: nn.Module, x: Tensor, classes: Tensor, sign: int) -> Tensor:
        inputs = x.detach().requires_grad_()
        own = network(inputs).gather(1, classes[:, None]).sum()
        slope = torch.autograd.grad(own, inputs)[0].sign()
        return (x + sign * self.reach * slope).clamp(*self.bounds)


def small_network(shape: torch.Size, classes: int) -> nn.Module:
    """Two convolutions and 128 features for images (C, H, W), else two layers of 256."""
    if len(shape) == 3:
        features = ConvStack(tuple(shape), (16, 32))
        size = math.prod(features.output_shape)
        return nn.Sequential(
            features, nn.Flatten(), nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, classes)
        )
    size = math.prod(shape)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(size, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
        nn.Linear(256, classes),
    )  # fmt: skip
