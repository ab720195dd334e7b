"""Feature extractors for distances between sets of images, such as FID."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import InputError

BATCH_SIZE = 1_000  # images per forward pass


class ClassifierFeatures(nn.Module):
    """Inputs of a classifier's last linear layer, (B, C, H, W) → (B, F).

    Distances on these features are comparable only for the same classifier, which ``fingerprint``
    identifies.

    Args:
        classifier: network that ends in a linear layer.

    Raises:
        InputError: the network has no linear layer.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        linear = [m for m in classifier.modules() if isinstance(m, nn.Linear)]
        if not linear:
            raise InputError(
                f"features are the inputs of the last linear layer: {type(classifier).__name__} "
                "has no linear layer"
            )
        self.classifier = classifier.eval()
        self.last_linear = linear[-1]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        captured: list[Tensor] = []
        handle = self.last_linear.register_forward_pre_hook(
            lambda _, inputs: captured.append(inputs[0])
        )
        try:
            self.classifier(x)
        finally:
            handle.remove()
        return captured[-1].flatten(1)

    @property
    def fingerprint(self) -> str:
        """First eight hexadecimal digits of the SHA-256 hash of all weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.classifier.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:8]


class InceptionFeatures(nn.Module):
    """The 2,048 features of the Inception network that published FIDs are computed on.

    Args:
        weights: file with the network's weights (``pt_inception-2015-12-05-6726825d.pth``).

    Raises:
        InputError: the package torch-fidelity is not installed, or the file does not exist or does
            not contain the weights of this network.
    """

    fingerprint = "inception-2015-12-05"

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        if not Path(weights).is_file():
            raise InputError(f"Inception weights {weights}: no such file")
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ModuleNotFoundError as error:
            raise InputError(
                "Inception features need the package torch-fidelity: "
                'pip install "lightning-model-zoo[fid]"'
            ) from error
        try:
            # refuse a file that would run code: torch-fidelity may load it as a pickle
            torch.load(weights, map_location="cpu", weights_only=True)
            self.network: Any = FeatureExtractorInceptionV3("inception", ["2048"], str(weights))
        except (RuntimeError, KeyError, OSError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{weights} does not contain Inception weights: {reason}") from error

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Compute the features of images in [0, 1], (B, 1 or 3, H, W) → (B, 2048)."""
        rgb = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        return self.network((rgb.clamp(0, 1) * 255).round().to(torch.uint8))[0]


def extract_features(network: nn.Module, images: Tensor) -> Tensor:
    """Compute the features of images in batches, (N, C, H, W) → (N, F)."""
    return torch.cat([network(part) for part in images.split(BATCH_SIZE)])
