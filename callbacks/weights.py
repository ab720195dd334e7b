"""Pictures of what is inside a network."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Images that chosen units answer most strongly to: by default one for each class's logit.

    x ← argmax_x a_u(x) − λ TV(x) over [0, 1] by Adam, from grey noise; a_u is a unit's activation,
    the mean over its map for a convolution; TV is the mean absolute difference of neighbouring
    pixels, relative to |a_u|, without which the image is noise to the eye.

    Args:
        layer: name of the module whose units are meant, such as ``network.1.4``; by default the
            model's logits.
        units: their numbers; by default the first 10.
        steps: of gradient ascent, default 200.
        smoothness: λ, default 2.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.

    Source: Erhan et al., Visualizing higher-layer features of a deep network, 2009.
    """

    name = "maximizing_inputs"

    def __init__(
        self,
        layer: str | None = None,
        units: Sequence[int] | None = None,
        steps: int = 200,
        smoothness: float = 2.0,
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(1, every_n_epochs)
        self.layer = layer
        self.units = units
        self.steps = steps
        self.smoothness = smoothness

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        with torch.inference_mode(False), torch.enable_grad():
            images, answers, units = self.ascend(model, x[:1].clone())
        names = [str(unit) for unit in units]
        if self.layer is None:
            classes = getattr(self.data, "classes", None) or []
            names = [classes[u] if u < len(classes) else str(u) for u in units]
        labels = [f"{n}: {float(a):.1f}" for n, a in zip(names, answers, strict=True)]
        what = self.layer or "logits"
        title = f"{type(model).__name__}: inputs that maximise units of {what}"
        return plots.labeled_images(images, labels, title)

    def ascend(self, model: Any, like: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        """Images (U, *like.shape[1:]), the units' answers (U,), and the units."""
        width = self._activations(model, like).shape[1]
        units = list(range(min(10, width))) if self.units is None else list(self.units)
        if max(units) >= width:
            raise InputError(f"there is no unit {max(units)} among {width} (MaximizingInputs)")
        count = len(units)
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(count, *like.shape[1:], generator=generator).to(like)
        free = (0.5 + 0.05 * (noise - 0.5)).logit().detach().requires_grad_(True)
        optimizer = torch.optim.Adam([free], lr=0.1)
        own = torch.arange(count, device=like.device), torch.tensor(units, device=like.device)
        for _ in range(self.steps):
            images = free.sigmoid()
            answers = self._activations(model, images)[own]
            rough = (images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()) * count
            scale = self.smoothness * answers.detach().abs().mean()
            # the model's own gradients stay as they are
            (free.grad,) = torch.autograd.grad(scale * rough - answers.sum(), free)
            optimizer.step()
        images = free.detach().sigmoid()
        return images, self._activations(model, images)[own].detach(), units

    def _activations(self, model: Any, images: Tensor) -> Tensor:
        """(B, units): of the layer, means over its maps, or the logits."""
        if self.layer is None:
            return model.logits(images)
        try:
            module = model.get_submodule(self.layer)
        except AttributeError:
            raise InputError(f"no layer is called {self.layer!r} (MaximizingInputs)") from None
        kept: list[Tensor] = []
        handle = module.register_forward_hook(lambda m, i, output: kept.append(output))
        try:
            model(images)
        finally:
            handle.remove()
        return kept[0].flatten(2).mean(2) if kept[0].ndim > 2 else kept[0]


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
