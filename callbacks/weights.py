"""Pictures of what is inside a network."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from callbacks.figures import FigureCallback
from zoo import plots
from zoo.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class WeightHistograms(FigureCallback):
    """How each layer's weights are distributed, with the model's norm penalties drawn over them.

    Args:
        parameters: pattern of their names, default ``*weight``.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "weight_histograms"

    def __init__(self, parameters: str = "*weight", every_n_epochs: int | None = None) -> None:
        super().__init__(1, every_n_epochs)
        self.parameters = parameters

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        weights = {
            name: p for name, p in model.named_parameters()
            if fnmatchcase(name, self.parameters) and p.ndim >= 2
        }  # fmt: skip
        if not weights:
            raise InputError(f"no weight is called {self.parameters!r} (WeightHistograms)")
        settings = model.hparams
        penalties = {}
        for key, p in (("l1", 1.0), ("l2", 2.0), ("lp", settings.get("p"))):
            strength = settings.get(key)
            for pattern, value in (
                strength if isinstance(strength, dict) else {"": strength}
            ).items():
                if value:
                    label = f"{value:g} |w|^{p:g}" + (f" on {pattern}" if pattern else "")
                    penalties[label] = (value, p)
        return plots.weight_histograms(weights, penalties, f"{type(model).__name__}: weights")


class Filters(FigureCallback):
    """Incoming weights of the first layer's units as images.

    For a convolution the kernels (of the first input channel, where there are several); for a fully
    connected layer on images the weights of each pixel.

    Args:
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "filters"

    def __init__(self, every_n_epochs: int | None = None) -> None:
        super().__init__(1, every_n_epochs)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        layers = [
            (name, m) for name, m in model.named_modules()
            if isinstance(m, nn.Conv2d | nn.Linear)
        ]  # fmt: skip
        name, layer = layers[0]
        weight = layer.weight
        if isinstance(layer, nn.Linear):
            if x.ndim != 4 or weight.shape[1] != x[0].numel():
                raise InputError(f"Filters needs images, the data has shape {tuple(x.shape[1:])}")
            weight = weight.unflatten(1, x.shape[1:])
        count = min(len(weight), plots.weights.MAX_MAPS)
        title = f"{type(model).__name__}: {name}, {count} of {len(weight)} units"
        return plots.filters(weight[:, 0], title)


class FeatureMaps(FigureCallback):
    """What chosen layers make of the first evaluation image.

    Args:
        layers: pattern of the modules' names; by default all convolutions.
        channels: maps drawn of each layer, default 8.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "feature_maps"

    def __init__(
        self, layers: str | None = None, channels: int = 8, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(1, every_n_epochs)
        self.layers = layers
        self.channels = channels

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        maps: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                if isinstance(output, Tensor) and output.ndim == 4:
                    maps[name] = output[0]

            return hook

        handles = [
            module.register_forward_hook(keep(name)) for name, module in model.named_modules()
            if self._wanted(name, module)
        ]  # fmt: skip
        try:
            model(x[:1])
        finally:
            for handle in handles:
                handle.remove()
        if not maps:
            raise InputError(f"no layer called {self.layers or 'Conv2d'!r} makes feature maps")
        title = f"{type(model).__name__}: feature maps, first {self.channels} channels"
        return plots.feature_maps(x[0], maps, title, self.channels)

    def _wanted(self, name: str, module: nn.Module) -> bool:
        if self.layers is None:
            return isinstance(module, nn.Conv2d)
        return fnmatchcase(name, self.layers)


class MaximizingInputs(FigureCallback):
    """Images that a classifier gives the highest scores to, one for each class.

    x ← argmax_x logit_k(x) − λ TV(x) over [0, 1] by Adam, from grey noise; TV is the mean absolute
    difference of neighbouring pixels, without which the image is noise to the eye.

    Args:
        steps: of gradient ascent, default 200.
        smoothness: λ relative to the logit, default 2.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.

    Source: Erhan et al., Visualizing higher-layer features of a deep network, 2009.
    """

    name = "maximizing_inputs"

    def __init__(
        self, steps: int = 200, smoothness: float = 2.0, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(1, every_n_epochs)
        self.steps = steps
        self.smoothness = smoothness

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        classes = model.num_classes
        with torch.inference_mode(False), torch.enable_grad():
            images, scores = self._ascend(model, x[:1].clone(), classes)
        names = getattr(self.data, "classes", None) or [str(k) for k in range(classes)]
        labels = [f"{n}: {float(s):.1f}" for n, s in zip(names, scores, strict=True)]
        title = f"{type(model).__name__}: inputs of the highest logit, found by gradient ascent"
        return plots.labelled_images(images, labels, title)

    def _ascend(self, model: Any, like: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(classes, *like.shape[1:], generator=generator).to(like)
        free = (0.5 + 0.05 * (noise - 0.5)).logit().detach().requires_grad_(True)
        optimizer = torch.optim.Adam([free], lr=0.1)
        own = torch.arange(classes, device=like.device)
        for _ in range(self.steps):
            images = free.sigmoid()
            scores = model.logits(images)[own, own]
            rough = (images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()) * classes
            (gradient,) = torch.autograd.grad(
                self.smoothness * scores.detach().abs().mean() * rough - scores.sum(), free
            )
            free.grad = gradient  # the model's own gradients stay as they are
            optimizer.step()
        images = free.detach().sigmoid()
        return images, model.logits(images)[own, own].detach()


class Attributions(FigureCallback):
    """Which pixels a classifier's decision rests on, by captum.

    Args:
        method: class in ``captum.attr`` that needs no more than the model, default
            ``IntegratedGradients``; ``Saliency``, ``InputXGradient``, ``DeepLift``, …
        num_samples: evaluation images, default 8.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.

    Raises:
        InputError: captum is not installed, or has no such method.
    """

    name = "attributions"

    def __init__(
        self,
        method: str = "IntegratedGradients",
        num_samples: int = 8,
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(num_samples, every_n_epochs)
        try:
            import captum.attr
        except ModuleNotFoundError:
            raise InputError('Attributions needs captum: pip install "captum"') from None
        if not hasattr(captum.attr, method):
            raise InputError(f"captum.attr has no {method!r}")
        self.method = method

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        import captum.attr

        with torch.inference_mode(False), torch.enable_grad():
            images = x.clone()
            predicted = model(images).argmax(1).detach()
            attribution = getattr(captum.attr, self.method)(model)
            values = attribution.attribute(images, target=predicted).detach()
        title = f"{type(model).__name__}: {self.method} of the predicted class"
        labels = [f"{int(k)} (is {int(t)})" for k, t in zip(predicted, y, strict=True)]
        return plots.image_and_signed_rows(x, values.sum(1), labels, title)
