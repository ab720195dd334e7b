"""Figures of the inside of a network: weights, filters, feature maps, attributions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from callbacks.figures import FigureCallback, prediction_label
from zoo import plots
from zoo.errors import InputError, check_at_least, check_non_negative

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_UNITS = 10  # units for which ActivationMaximization makes an image by default


class WeightHistograms(FigureCallback):
    """Draw a histogram of each layer's weights, with the model's norm penalties.

    Args:
        parameters: glob pattern of the parameters' names, default ``*weight``; parameters with one
            dimension are left out.
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
            raise InputError(f"WeightHistograms: no weight matches {self.parameters!r}")
        title = f"{type(model).__name__}: weights"
        return plots.weight_histograms(weights, _penalties(model.hparams), title)


def _penalties(hparams: Any) -> dict[str, tuple[float, float]]:
    """Return label → (λ, p) of each penalty λ|w|^p in a model's hyperparameters."""
    penalties = {}
    for key, p in (("l1", 1.0), ("l2", 2.0), ("lp", hparams.get("p"))):
        strength = hparams.get(key)
        by_pattern = strength if isinstance(strength, dict) else {"": strength}
        for pattern, value in by_pattern.items():
            if value:
                label = f"{value:g} |w|^{p:g}" + (f" on {pattern}" if pattern else "")
                penalties[label] = (value, p)
    return penalties


class Filters(FigureCallback):
    """Draw the incoming weights of the first layer's units as images.

    For a convolution, these are the kernels of the first input channel; for a fully connected layer
    on images, the weights of the pixels of the first channel.

    Args:
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "filters"

    def __init__(self, every_n_epochs: int | None = None) -> None:
        super().__init__(1, every_n_epochs)

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        layers = (
            (name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)
        )
        name, layer = next(layers, ("", None))
        if layer is None:
            raise InputError(
                f"Filters needs a convolution or a fully connected layer, {type(model).__name__} "
                "has neither: leave the callback out"
            )
        weight = layer.weight
        if isinstance(layer, nn.Linear):
            if x.ndim != 4 or weight.shape[1] != x[0].numel():
                raise InputError(f"Filters needs images, the data has shape {tuple(x.shape[1:])}")
            weight = weight.unflatten(1, x.shape[1:])
        count = min(len(weight), plots.weights.MAX_FILTERS)
        title = f"{type(model).__name__}: filters of {name} ({count} of {len(weight)} units)"
        return plots.filters(weight[:, 0], title)


class FeatureMaps(FigureCallback):
    """Draw the feature maps of chosen layers for the first evaluation image.

    Args:
        layers: glob pattern of the modules' names, default all convolutions.
        channels: number of channels to draw for each layer, starting from the first; default 8.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.
    """

    name = "feature_maps"

    def __init__(
        self, layers: str | None = None, channels: int = 8, every_n_epochs: int | None = None
    ) -> None:
        super().__init__(1, every_n_epochs)
        check_at_least(1, channels=channels)
        self.layers = layers
        self.channels = channels

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        chosen = {name: m for name, m in model.named_modules() if self._is_chosen(name, m)}
        with _recorded_outputs(chosen) as outputs:
            model(x[:1])
        maps = {
            name: output[0] for name, output in outputs.items()
            if isinstance(output, Tensor) and output.ndim == 4
        }  # fmt: skip
        if not maps:
            wanted = self.layers or "Conv2d"
            raise InputError(f"FeatureMaps: no layer that matches {wanted!r} has feature maps")
        title = f"{type(model).__name__}: feature maps, first {self.channels} channels"
        return plots.feature_maps(x[0], maps, title, self.channels)

    def _is_chosen(self, name: str, module: nn.Module) -> bool:
        if self.layers is None:
            return isinstance(module, nn.Conv2d)
        return fnmatchcase(name, self.layers)


@contextmanager
def _recorded_outputs(modules: dict[str, nn.Module]) -> Iterator[dict[str, Any]]:
    """Record the latest output of each module by its name, in the order of computation."""
    outputs: dict[str, Any] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            outputs[name] = output

        return hook

    handles = [module.register_forward_hook(record(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


class ActivationMaximization(FigureCallback):
    """Draw images that maximize the activations of chosen units, by default the classes' logits.

    x ← argmax_x a_u(x) − λ TV(x) over [0, 1] by Adam, starting from gray noise. a_u is the unit's
    activation, for a convolution the mean over its feature map. TV is the mean absolute difference
    of neighboring pixels, scaled by |a_u|; without it the images look like noise.

    Args:
        layer: name of the module whose units are maximized, such as ``network.1.4``; by default the
            model's logits.
        units: unit indices, default the first 10.
        steps: number of gradient steps, default 200.
        smoothness: weight λ of the total variation, default 2.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.

    Source: Erhan et al., Visualizing higher-layer features of a deep network, 2009.
    """

    name = "activation_maximization"
    needs = ("logits", "num_classes")
    made_for = "a classifier of images"

    def __init__(
        self,
        layer: str | None = None,
        units: Sequence[int] | None = None,
        steps: int = 200,
        smoothness: float = 2.0,
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(1, every_n_epochs)
        check_at_least(1, steps=steps)
        check_non_negative(smoothness=smoothness)
        self.layer = layer
        self.units = units
        self.steps = steps
        self.smoothness = smoothness

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        if x.ndim != 4:
            raise self.misfit(f"samples of shape {tuple(x.shape[1:])}")
        with torch.inference_mode(False), torch.enable_grad():
            images, activations, units = self.maximize(model, x[:1].clone())
        names = [str(unit) for unit in units]
        if self.layer is None:
            class_names = self.class_names(model.num_classes)
            names = [class_names[unit] for unit in units]
        labels = [f"{n}: {float(a):.1f}" for n, a in zip(names, activations, strict=True)]
        title = f"{type(model).__name__}: images that maximize {self.layer or 'logits'}"
        return plots.labeled_images(images, labels, title)

    def maximize(self, model: Any, like: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        """Compute an image that maximizes each unit.

        Args:
            model: the model, in evaluation mode.
            like: a sample with the shape, device and dtype of the images, (1, C, H, W).

        Returns:
            Images (U, C, H, W), the units' activations (U,), and the unit indices.

        Raises:
            InputError: the layer or a unit does not exist.
        """
        width = self._activations(model, like).shape[1]
        units = list(range(min(DEFAULT_UNITS, width))) if self.units is None else list(self.units)
        if not all(0 <= unit < width for unit in units):
            raise InputError(
                f"ActivationMaximization: units must be from 0 to {width - 1}, got {units}"
            )
        count = len(units)
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(count, *like.shape[1:], generator=generator).to(like)
        logits = (0.5 + 0.05 * (noise - 0.5)).logit().detach().requires_grad_(True)
        optimizer = torch.optim.Adam([logits], lr=0.1)
        own = torch.arange(count, device=like.device), torch.tensor(units, device=like.device)
        for _ in range(self.steps):
            images = logits.sigmoid()
            activations = self._activations(model, images)[own]
            variation = images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()
            scale = self.smoothness * activations.detach().abs().mean()
            loss = scale * (variation * count) - activations.sum()
            # backward() would also fill the gradients of the model's parameters
            (logits.grad,) = torch.autograd.grad(loss, logits)
            optimizer.step()
        images = logits.detach().sigmoid()
        return images, self._activations(model, images)[own].detach(), units

    def _activations(self, model: Any, images: Tensor) -> Tensor:
        """Return the layer's activations, averaged over feature maps, or the logits; (B, units)."""
        if self.layer is None:
            return model.logits(images)
        try:
            module = model.get_submodule(self.layer)
        except AttributeError:
            raise InputError(
                f"ActivationMaximization: the model has no layer {self.layer!r}"
            ) from None
        with _recorded_outputs({self.layer: module}) as outputs:
            model(images)
        output = outputs[self.layer]
        return output.flatten(2).mean(2) if output.ndim > 2 else output


class Attributions(FigureCallback):
    """Draw the attribution of a classifier's predicted class to each pixel, computed by captum.

    Args:
        method: name of a class in ``captum.attr`` whose constructor needs only the model, such as
            ``Saliency``, ``InputXGradient`` or ``DeepLift``; default ``IntegratedGradients``.
        num_samples: number of evaluation images, starting from the first; default 8.
        every_n_epochs: see :class:`~callbacks.figures.FigureCallback`.

    Raises:
        InputError: captum is not installed or does not have the method.
    """

    name = "attributions"
    needs = ("logits", "num_classes")
    made_for = "a classifier of images"

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
            raise InputError(
                'Attributions needs captum: pip install "lightning-model-zoo[captum]"'
            ) from None
        if not hasattr(captum.attr, method):
            raise InputError(f"captum.attr has no method {method!r}")
        self.method = method

    def draw(self, model: Any, x: Tensor, y: Tensor) -> Figure:
        import captum.attr

        if x.ndim != 4:
            raise self.misfit(f"samples of shape {tuple(x.shape[1:])}")
        with torch.inference_mode(False), torch.enable_grad():
            images = x.clone()
            predicted = model(images).argmax(1).detach()
            attribution = getattr(captum.attr, self.method)(model)
            values = attribution.attribute(images, target=predicted).detach()
        names = self.class_names(model.num_classes)
        pairs = zip(predicted.tolist(), y.tolist(), strict=True)
        labels = [prediction_label(*pair, names) for pair in pairs]
        title = f"{type(model).__name__}: {self.method} of the predicted class"
        return plots.attribution_maps(x, values.sum(1), labels, title)
