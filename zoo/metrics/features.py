"""Features of images for distances between sets of them."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import InputError

BATCH = 1_000


class ClassifierFeatures(nn.Module):
    """What a classifier's last linear layer sees: (B, C, H, W) → (B, F).

    Distances on these features mean something only between figures of the same classifier; its
    ``fingerprint`` says which one it was.

    Args:
        classifier: any network that ends in a linear layer.

    Raises:
        ValueError: it has none.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        linear = [m for m in classifier.modules() if isinstance(m, nn.Linear)]
        if not linear:
            raise ValueError(
                f"{type(classifier).__name__} has no linear layer to take the input of"
            )
        self.classifier = classifier.eval()
        self.last = linear[-1]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        handle = self.last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.classifier(x)
        finally:
            handle.remove()
        return seen[-1].flatten(1)

    @property
    def fingerprint(self) -> str:
        """The first eight digits of the SHA-256 of all weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.classifier.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:8]


class InceptionFeatures(nn.Module):
    """The 2,048 features of the Inception network that the published FID is taken on.

    Args:
        weights: file of the network's weights (``pt_inception-2015-12-05-6726825d.pth``).

    Raises:
        InputError: the package torch-fidelity is missing; no such file, or not of that network.
    """

    fingerprint = "inception-2015-12-05"

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        if not Path(weights).is_file():
            raise InputError(f"there are no Inception weights in {weights}")
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ModuleNotFoundError as error:
            raise InputError(
                "the Inception features need torch-fidelity: pip install torch-fidelity"
            ) from error
        try:
            torch.load(weights, map_location="cpu", weights_only=True)  # it may not run code
            self.network: Any = FeatureExtractorInceptionV3("inception", ["2048"], str(weights))
        except (RuntimeError, KeyError, OSError, pickle.UnpicklingError) as error:
            first = str(error).splitlines()[0]
            raise InputError(f"{weights} are no Inception weights: {first}") from error

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 1 or 3, H, W) in [0, 1] → (B, 2048)."""
        color = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        return self.network((color.clamp(0, 1) * 255).round().to(torch.uint8))[0]


def features_of(network: nn.Module, images: Tensor) -> Tensor:
    """Features of many images, batch by batch, (N, F)."""
    return torch.cat([network(part) for part in images.split(BATCH)])
