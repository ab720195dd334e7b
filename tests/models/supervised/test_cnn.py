"""Convolutional classifiers: symmetries, output shapes, numbers of parameters, backbones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import zoo
from zoo import CNN, ResNet, TorchvisionClassifier
from zoo.errors import InputError
from zoo.networks.conv_stack import ConvStack, GlobalPool
from zoo.networks.normalization import Normalize
from zoo.networks.resnet import BasicBlock


def images(side: int = 12, channels: int = 2, count: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, side, side).double()


# -- symmetries ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [(1, 0), (0, 5), (3, -4)])
def test_circular_convolution_commutes_with_circular_shifts(shift: tuple[int, int]) -> None:
    stack = ConvStack(
        (2, 12, 12), (4, 5), kernel_size=(3, 5), padding_mode="circular", pool_size=1
    ).double()  # fmt: skip
    x = images()
    shifted = stack(x.roll(shift, (2, 3)))
    torch.testing.assert_close(shifted, stack(x).roll(shift, (2, 3)), atol=1e-14, rtol=0)
    zeros = ConvStack((2, 12, 12), (4,), padding_mode="zeros", pool_size=1).double()
    assert (zeros(x.roll(shift, (2, 3))) - zeros(x).roll(shift, (2, 3))).abs().max() > 1e-3


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_global_pooling_makes_the_logits_invariant_to_circular_shifts(pooling: str) -> None:
    model = CNN(
        (2, 12, 12), 5, (4, 6), padding_mode="circular", pool_size=1, global_pooling=pooling
    ).double().eval()  # fmt: skip
    x = images()
    torch.testing.assert_close(model(x.roll((3, 7), (2, 3))), model(x), atol=1e-13, rtol=0)


def test_strided_pooling_is_invariant_to_shifts_by_the_total_stride() -> None:
    model = CNN(
        (2, 12, 12), 5, (4, 6), padding_mode="circular", pool_size=2, global_pooling="avg"
    ).double().eval()  # fmt: skip
    x = images()
    torch.testing.assert_close(model(x.roll(4, 3)), model(x), atol=1e-13, rtol=0)
    assert (model(x.roll(1, 3)) - model(x)).abs().max() > 1e-4


def test_max_pooling_ignores_the_position_of_the_maximum_in_its_window() -> None:
    pool = nn.MaxPool2d(2)
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 0] = 1
    assert torch.equal(pool(x), pool(x.roll(1, 3)))


def test_max_pooling_commutes_with_relu() -> None:
    x = torch.randn(2, 3, 8, 8)
    pool = nn.MaxPool2d(2)
    assert torch.equal(pool(x.relu()), pool(x).relu())


# -- sizes ---------------------------------------------------------------------------------------


def test_parameters_do_not_depend_on_the_image_size_with_global_pooling() -> None:
    def count(side: int, **options: Any) -> int:
        model = CNN((3, side, side), 10, (8, 16), **options)
        return sum(p.numel() for p in model.parameters())

    assert count(16, global_pooling="avg") == count(64, global_pooling="avg")
    assert count(16) != count(64)
    resnets = [ResNet((3, s, s), 10, (8, 16), 1) for s in (8, 33)]
    assert len({sum(p.numel() for p in m.parameters()) for m in resnets}) == 1


@pytest.mark.parametrize(
    ("padding", "kernel", "stride", "side"),
    [
        ("valid", 3, 1, 10), ("same", 3, 1, 12), ("full", 3, 1, 14), ("same", 5, 2, 6),
        ("valid", 4, 2, 5), ("full", 4, 1, 15),
    ],
)  # fmt: skip
def test_output_side_follows_from_padding_kernel_and_stride(
    padding: str, kernel: int, stride: int, side: int
) -> None:
    stack = ConvStack((2, 12, 12), (4,), kernel, stride, padding, pool_size=1)
    assert stack.output_shape == (4, side, side)


def test_full_padding_computes_the_full_convolution() -> None:
    """The reference is ``numpy.convolve`` in its mode ``full``."""
    import numpy as np

    stack = ConvStack((1, 1, 9), (1,), 3, padding="full", pool_size=1, activation="identity")
    stack = stack.double()
    # only the middle row of the kernel overlaps the signal
    kernel = stack[0].weight.detach()[0, 0, 1].numpy()
    x = torch.rand(1, 1, 1, 9).double()
    found = stack(x)[0, 0].detach().numpy() - float(stack[0].bias.detach())
    oracle = np.convolve(x[0, 0, 0].numpy(), kernel[::-1], "full")
    np.testing.assert_allclose(found[1], oracle, atol=1e-14)


def test_lenet5_has_the_published_number_of_parameters() -> None:
    """61,706 for 28×28 images, with all connections between feature maps (LeCun et al., 1998)."""
    model = zoo.create_model("lenet5", data="mnist")
    assert sum(p.numel() for p in model.parameters()) == 61_706


def test_resnet20_has_the_published_number_of_parameters() -> None:
    """0.27 M (He et al., 2016, table 6); the 1×1 convolutions of the shortcuts add 2,752."""
    model = ResNet((3, 32, 32), 10)
    assert sum(p.numel() for p in model.parameters()) == 272_474


def test_convolutions_have_no_bias_if_the_normalization_cancels_it() -> None:
    for normalization in ("none", "batch", "instance", "layer", "group"):
        stack = ConvStack((1, 8, 8), (4,), normalization=normalization)
        has_bias = stack[0].bias is not None
        assert has_bias == (normalization in ("none", "layer", "group")), normalization
    # batch and instance normalization cancel a shift of each channel, layer and group do not
    x, shift = torch.rand(4, 6, 5, 5).double(), torch.rand(6, 1, 1).double()
    for layer in (nn.BatchNorm2d(6), nn.InstanceNorm2d(6)):
        assert torch.allclose(layer.double()(x + shift), layer.double()(x), atol=1e-12)
    for layer in (nn.GroupNorm(1, 6), nn.GroupNorm(3, 6)):
        assert not torch.allclose(layer.double()(x + shift), layer.double()(x), atol=1e-3)


def test_a_residual_block_with_zero_residual_is_its_shortcut() -> None:
    block = BasicBlock(4, 4, 1, "relu", "batch").eval()
    nn.init.zeros_(block.residual[-1].weight)
    x = torch.rand(2, 4, 6, 6)
    assert torch.equal(block(x), x)


def test_channels_last_changes_only_the_memory_layout() -> None:
    torch.manual_seed(0)
    plain = CNN((1, 12, 12), 10).double()
    torch.manual_seed(0)
    last = CNN((1, 12, 12), 10, channels_last=True).double()
    x = torch.rand(4, 1, 12, 12).double()
    torch.testing.assert_close(plain(x), last(x), atol=1e-12, rtol=0)
    assert last.network[1][4].weight.is_contiguous(memory_format=torch.channels_last)


def test_the_model_normalizes_pixels() -> None:
    layer = Normalize((0.1, 0.2), (0.5, 2.0))
    x = torch.rand(3, 2, 4, 4)
    expected = torch.stack([(x[:, 0] - 0.1) / 0.5, (x[:, 1] - 0.2) / 2.0], dim=1)
    torch.testing.assert_close(layer(x), expected)
    with pytest.raises(ValueError, match="std must be positive"):
        Normalize(0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "reflect"}, "unknown padding 'reflect'; choose from valid, same, full"),
        ({"padding_mode": "mirror"}, "unknown padding_mode 'mirror'"),
        ({"pooling": "sum"}, "unknown pooling 'sum'; choose from max, avg"),
        ({"global_pooling": "sum"}, "unknown pooling 'sum'; choose from max, avg"),
        ({"normalization": "spectral"}, "unknown normalization 'spectral'; choose from none, bat"),
        ({"kernel_size": 4}, "padding 'same' needs an odd kernel_size, got 4"),
        ({"kernel_size": (3, 3)}, "kernel_size has 2 values for 3 layers"),
        ({"channels": (4,) * 5}, "images of 8×8 pixels are too small for these layers"),
        ({"input_shape": (64,)}, r"needs images \(channels, height, width\), got \(64,\)"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CNN(**{"input_shape": (1, 8, 8), "num_classes": 10} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.5}, "dropout must be at least 0 and below 1, got 1.5"),
        ({"stem_stride": 0}, "stem_stride must be at least 1, got 0"),
        ({"blocks": (3, 3)}, "blocks has 2 values for 3 stages"),
    ],
)
def test_bad_resnet_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ResNet((3, 8, 8), 10, **options)


def test_global_pooling_modes() -> None:
    x = torch.rand(2, 3, 4, 5)
    assert torch.equal(GlobalPool("max")(x), x.flatten(2).max(2).values)
    torch.testing.assert_close(GlobalPool("avg")(x), x.flatten(2).mean(2))


# -- torchvision ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("resnet18", None), ("mobilenet_v3_small", None), ("squeezenet1_1", 64),
        ("efficientnet_b0", None), ("vit_b_16", 224), ("densenet121", None), ("googlenet", 64),
    ],
)  # fmt: skip
def test_backbones_get_a_head_for_the_classes(backbone: str, size: int | None) -> None:
    model = TorchvisionClassifier((1, 32, 32), 7, backbone, image_size=size).eval()
    with torch.no_grad():
        assert model(torch.rand(2, 1, 32, 32)).shape == (2, 7)


def test_a_frozen_backbone_keeps_its_weights_and_statistics() -> None:
    model = TorchvisionClassifier((3, 32, 32), 7, "resnet18", freeze=True).train()
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all(name.startswith("backbone.fc.") for name in trained)
    before = model.backbone.bn1.running_mean.clone()
    model.step((torch.rand(4, 3, 32, 32), torch.arange(4)))["loss"].backward()
    assert torch.equal(model.backbone.bn1.running_mean, before)
    assert model.backbone.fc.training


def test_a_head_for_a_final_convolution_has_no_hidden_layers() -> None:
    with pytest.raises(InputError, match=r"ends with a convolution.* hidden_dims"):
        TorchvisionClassifier((3, 64, 64), 7, "squeezenet1_1", hidden_dims=(16,))


def test_a_pretrained_head_needs_its_number_of_classes() -> None:
    model = TorchvisionClassifier((3, 32, 32), 1000, "resnet18", head="pretrained")
    assert isinstance(model.backbone.fc, nn.Linear)
    with pytest.raises(
        ValueError, match="the pretrained head has 1000 classes, but the data has 7"
    ):
        TorchvisionClassifier((3, 32, 32), 7, "resnet18", head="pretrained")


def test_a_subclass_with_its_own_head() -> None:
    class Own(TorchvisionClassifier):
        def make_head(self, in_features: int) -> nn.Module:
            return nn.Sequential(nn.LayerNorm(in_features), nn.Linear(in_features, 7))

    assert isinstance(Own((3, 32, 32), 7, "resnet18").backbone.fc[0], nn.LayerNorm)
    deep = TorchvisionClassifier((3, 32, 32), 7, "resnet18", hidden_dims=(16,))
    assert [m.out_features for m in deep.backbone.fc if isinstance(m, nn.Linear)] == [16, 7]


def test_bad_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown backbone 'resnet19'; did you mean 'resnet18'"):
        TorchvisionClassifier((3, 32, 32), 7, "resnet19")
    with pytest.raises(InputError, match="resnet18 has no weights 'BEST'; it has IMAGENET1K_V1"):
        TorchvisionClassifier((3, 32, 32), 7, "resnet18", weights="BEST")
    message = "vit_b_16 cannot process images of {0}×{0} pixels: choose another image_size"
    for size in (None, 64):
        with pytest.raises(ValueError, match=message.format(size or 32)):
            TorchvisionClassifier((3, 32, 32), 7, "vit_b_16", image_size=size)
    with pytest.raises(InputError, match="image_size must be at least 1, got -64"):
        TorchvisionClassifier((3, 32, 32), 7, "resnet18", image_size=-64)

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fails)
    monkeypatch.setenv("TORCH_HOME", "/nowhere")
    with pytest.raises(InputError, match=r"cannot be downloaded .* set weights to null"):
        TorchvisionClassifier((3, 32, 32), 7, "resnet18", weights="DEFAULT")
