"""Transfer attacks: adversarial samples crafted on a substitute model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.attacks.base import Attack, BoundedAttack, ScoreFunction, as_normal_tensor, frozen_eval
from zoo.attacks.goals import Goal
from zoo.attacks.wrappers import AttackWrapper
from zoo.errors import InputError, check_at_least, check_integer, check_interval, check_non_negative
from zoo.networks.conv_stack import ConvStack


class TransferAttack(AttackWrapper):
    """Transfer attack: samples are crafted on a substitute and then given to the target model.

    The target model is never queried.

    Args:
        attack: any attack, which runs on the substitute without early stopping: a sample that has
            just crossed the decision boundary of one model rarely crosses that of another.
        substitute: model that the samples are crafted on.
    """

    def __init__(self, attack: Attack, substitute: Any) -> None:
        super().__init__(attack.without_early_stop())
        self.substitute = substitute

    def perturb(self, model: ScoreFunction, x: Tensor, goal: Goal) -> Tensor:
        substitute = ScoreFunction(self.substitute, goal.y, model.dtype)
        with frozen_eval(self.substitute):
            return self.attack.perturb(substitute, x, goal)

    def with_attack(self, attack: Attack) -> Attack:
        return TransferAttack(attack, self.substitute)

    @property
    def name(self) -> str:
        return f"{self.attack.name} (transfer)"


@dataclass(frozen=True, kw_only=True)
class SubstituteAttack:
    """Decision-based attack: trains a substitute on a model's predictions, and attacks it.

    A substitute network learns the classes that the model predicts for a few unlabeled samples.
    Jacobian-based augmentation then adds a neighbor of each sample, x + λ sign(∂z_c/∂x), with c the
    predicted class and z the scores of the substitute; the model is queried for the classes of the
    neighbors as well. Each round doubles the samples, until the query budget is spent.
    ``fit(model, x)`` returns the attack.

    Args:
        attack: attack that runs on the substitute.
        queries: total number of model queries, default 10,000.
        rounds: number of augmentation rounds, default 4; the first ``queries / 2^rounds`` of the
            given samples are used.
        augmentation_step: λ, default 0.1; its sign alternates between rounds.
        epochs: number of training epochs per round, default 10, with Adam at a learning rate of
            1e-3 and a batch size of 128.
        make_network: function from the shape of a sample and the number of classes to a substitute;
            default a small convolutional network for images, and an MLP for all other samples.
        bounds: bounds of the samples, default (0, 1); None for no bounds.
        seed: random seed of the weights and batches, default 0.

    Raises:
        InputError: no samples are given.

    Source: Papernot et al., Practical black-box attacks against machine learning, 2017, section 4.
    """

    attack: Attack
    queries: int = 10_000
    rounds: int = 4
    augmentation_step: float = 0.1
    epochs: int = 10
    make_network: Callable[[torch.Size, int], nn.Module] | None = None
    bounds: tuple[float, float] | None = (0.0, 1.0)
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(1, queries=self.queries)
        check_at_least(0, rounds=self.rounds, epochs=self.epochs)
        check_non_negative(augmentation_step=self.augmentation_step)
        check_interval(bounds=self.bounds)
        check_integer(seed=self.seed)

    def fit(self, model: Any, x: Tensor) -> TransferAttack:
        """Train the substitute on the predictions for samples like x.

        Args:
            model: see :class:`~zoo.attacks.base.Attack`; only its predicted classes are used.
            x: unlabeled samples, (N, ...).
        """
        x = as_normal_tensor(x)[: max(1, self.queries // 2**self.rounds)]
        if not len(x):
            raise InputError("SubstituteAttack needs at least one sample to query the model with")
        with frozen_eval(model), torch.random.fork_rng():
            torch.manual_seed(self.seed)
            target = ScoreFunction(model)
            classes, num_classes = self._query(target, x)
            network = (self.make_network or small_network)(x.shape[1:], num_classes).to(x)
            for step in range(self.rounds + 1):
                self._train(network, x, classes)
                remaining = self.queries - target.queries
                if step == self.rounds or remaining <= 0:
                    break
                sign = 1 if step % 2 == 0 else -1
                new = self._augment(network, x[:remaining], classes[:remaining], sign)
                x, classes = torch.cat([x, new]), torch.cat([classes, self._query(target, new)[0]])
        return TransferAttack(self.attack, network.eval().requires_grad_(False))

    @staticmethod
    def _query(model: ScoreFunction, x: Tensor) -> tuple[Tensor, int]:
        """Return the predicted classes, (N,), and the number of classes of the model."""
        with torch.no_grad():
            scores = torch.cat([model(part) for part in x.split(500)])
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

    def _augment(self, network: nn.Module, x: Tensor, classes: Tensor, sign: int) -> Tensor:
        """Return the neighbors x ± λ sign(∂z_c/∂x), clipped to the bounds."""
        inputs = x.detach().requires_grad_()
        own = network(inputs).gather(1, classes[:, None]).sum()
        direction = torch.autograd.grad(own, inputs)[0].sign()
        neighbors = x + sign * self.augmentation_step * direction
        return BoundedAttack(bounds=self.bounds).clip(neighbors)


def small_network(shape: torch.Size, num_classes: int) -> nn.Module:
    """Return the default substitute.

    Two convolutions and a hidden layer of 128 units for images (C, H, W); for other shapes, an MLP
    with two hidden layers of 256 units.
    """
    if len(shape) == 3:
        features = ConvStack(tuple(shape), (16, 32))
        size = math.prod(features.output_shape)
        return nn.Sequential(
            features, nn.Flatten(), nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, num_classes)
        )
    size = math.prod(shape)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(size, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
        nn.Linear(256, num_classes),
    )  # fmt: skip
