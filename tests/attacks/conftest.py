"""Small models and samples to attack."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

Case = tuple[nn.Module, Tensor, Tensor]


@pytest.fixture
def linear() -> Case:
    """A linear model in float64, and samples well inside the bounds with predicted labels."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 5)).double()
    model[1].weight.data *= 8  # large margins
    x = 0.4 + 0.2 * torch.rand(12, 4, 5, dtype=torch.float64)
    return model, x, model(x).argmax(1)


@pytest.fixture
def images() -> Case:
    """A small network with batch norm and dropout, and images in [0, 1] with predicted labels."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3),
        nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 16, 4),
    ).double()  # fmt: skip
    x = torch.rand(10, 1, 8, 8, dtype=torch.float64)
    x[:, :, :2] = x[:, :, :2].round()  # some pixels are exactly 0 or 1
    model(x)
    return model, x, model.eval()(x).argmax(1)


@pytest.fixture
def learned() -> Case:
    """A network trained on handwritten digits, and test images that it classifies correctly."""
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(digits.target)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(12):
        for rows in torch.randperm(1400).split(100):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    correct = model(x[1400:]).argmax(1) == y[1400:]
    assert correct.float().mean() > 0.9
    return model, x[1400:][correct][:200], y[1400:][correct][:200]


def accuracy(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())
