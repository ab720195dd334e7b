"""Classifiers with a backbone from torchvision."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.core.classification import Classifier
from zoo.errors import InputError, check_at_least, check_choice, unknown
from zoo.networks import MLP, Normalize

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class TorchvisionClassifier(Classifier):
    """Image classifier with a backbone from ``torchvision.models``, random or pretrained.

    Grayscale images are repeated to three channels, and pixels are normalized with the statistics
    of ImageNet, as torchvision's weights expect.

    Args:
        input_shape: shape of one image, (1 or 3, H, W).
        num_classes: number of classes, K.
        backbone: name in ``torchvision.models.list_models()``, default ``resnet18``.
        weights: name of pretrained weights, such as ``DEFAULT``; null (default) for random weights.
        head: ``fresh`` (default), a new head from ``make_head``, or ``pretrained``, the head of the
            weights, which needs the same number of classes.
        hidden_dims: widths of the hidden layers of a fresh head, default none. A backbone that
            ends with a convolution, such as SqueezeNet, does not support them.
        freeze: whether only the head is trained, with the backbone in evaluation mode; default
            False.
        image_size: side in pixels to which images are resized before the backbone (bilinear);
            default no resizing.
        **classifier: see :class:`zoo.core.classification.Classifier`.

    Shapes: (B, C, H, W) in [0, 1] → logits (B, K).

    Raises:
        InputError: unknown backbone or weights; weights that cannot be downloaded; images that the
            backbone cannot process; a head that does not fit the backbone or the classes.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        backbone: str = "resnet18",
        weights: str | None = None,
        head: str = "fresh",
        hidden_dims: tuple[int, ...] = (),
        freeze: bool = False,
        image_size: int | None = None,
        **classifier: Any,
    ) -> None:
        super().__init__(num_classes, **classifier)
        if len(input_shape) != 3 or input_shape[0] not in (1, 3):
            raise InputError(
                "a backbone needs images with 1 or 3 channels, "
                f"got input_shape={tuple(input_shape)}"
            )
        check_choice("head", head, ("fresh", "pretrained"))
        check_at_least(1, image_size=image_size, hidden_dims=hidden_dims)
        self.input_shape = tuple(input_shape)
        self.image_size = image_size

    def build(self) -> None:
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.backbone = self.make_backbone()
        self._place_head()
        self._check_image_size()

    def make_backbone(self) -> nn.Module:
        """Create the torchvision model, without auxiliary outputs."""
        from torchvision import models

        name, weights = self.hparams["backbone"], self.hparams["weights"]
        known = models.list_models(module=models)
        if name not in known:
            raise unknown("backbone", name, known)
        try:
            model = models.get_model(name, weights=weights)
        except (KeyError, ValueError) as error:
            options = [member.name for member in models.get_model_weights(name)]
            raise InputError(
                f"{name} has no weights {weights!r}; it has {', '.join(options)}"
            ) from error
        except OSError as error:  # URLError included
            raise InputError(
                f"the weights {weights!r} of {name} cannot be downloaded ({error}): put the file "
                f"into {torch.hub.get_dir()}/checkpoints, or set weights to null"
            ) from error
        for auxiliary in ("AuxLogits", "aux1", "aux2"):
            if hasattr(model, auxiliary):
                setattr(model, auxiliary, None)
                model.aux_logits = False
        return model

    def make_head(self, in_features: int) -> nn.Module:
        """Create a fresh head, features (B, in_features) → logits (B, K)."""
        return MLP([in_features, *self.hparams["hidden_dims"], self.num_classes])

    def logits(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if self.image_size:
            size = (self.image_size, self.image_size)
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        return self.backbone(self.normalize(x))

    def train(self, mode: bool = True) -> TorchvisionClassifier:
        super().train(mode)
        if self.hparams["freeze"]:
            self.backbone.eval()  # batch normalization keeps its statistics
            self._head.train(mode)
        return self

    # -- helpers --------------------------------------------------------------------------------

    def _place_head(self) -> None:
        """Replace the last layer of the backbone with the head."""
        layers = [
            (name, m) for name, m in self.backbone.named_modules()
            if isinstance(m, nn.Linear | nn.Conv2d)
        ]  # fmt: skip
        name, last = layers[-1]
        if self.hparams["head"] == "pretrained":
            outputs = last.out_features if isinstance(last, nn.Linear) else last.out_channels
            if outputs != self.num_classes:
                raise InputError(
                    f"the pretrained head has {outputs} classes, but the data has "
                    f"{self.num_classes}: choose head='fresh'"
                )
            head: nn.Module = last
        elif isinstance(last, nn.Linear):
            head = self.make_head(last.in_features)
        elif self.hparams["hidden_dims"]:
            raise InputError(
                f"{self.hparams['backbone']} ends with a convolution, which does not support "
                "hidden_dims: leave hidden_dims empty, or choose another backbone"
            )
        else:  # a 1×1 convolution before global pooling, as in SqueezeNet
            head = nn.Conv2d(last.in_channels, self.num_classes, 1)
        parent, _, child = name.rpartition(".")
        if self.hparams["freeze"]:
            self.backbone.requires_grad_(False)
            head.requires_grad_(True)
        setattr(self.backbone.get_submodule(parent), child, head)
        self._head_name = name

    @property
    def _head(self) -> nn.Module:
        return self.backbone.get_submodule(self._head_name)

    def _check_image_size(self) -> None:
        """Run one image through the network, to report a wrong size before training."""
        self.eval()
        try:
            with torch.no_grad(), torch.random.fork_rng([]):
                self.logits(torch.zeros(1, *self.input_shape))
        except (RuntimeError, AssertionError) as error:
            size = self.image_size
            height, width = (size, size) if size else self.input_shape[1:]
            raise InputError(
                f"{self.hparams['backbone']} cannot process images of {height}×{width} pixels: "
                "choose another image_size, such as 224"
            ) from error
        self.train()
