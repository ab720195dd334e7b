"""Latent metrics: importance-weighted bound, active units, probes, feature extractors."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
import torch

from zoo import CNN, VAE, MLPClassifier
from zoo.errors import InputError
from zoo.functional.likelihoods import log_mean_exp
from zoo.metrics.features import ClassifierFeatures, InceptionFeatures, extract_features
from zoo.metrics.latent import (
    active_units,
    importance_weighted_bound,
    knn_accuracy,
    linear_probe_accuracy,
)


class CountingVAE(VAE):
    """A VAE that records the largest number of codes decoded at once."""

    largest = 0

    def log_weights(self, x, y=None, num_samples=1):  # type: ignore[no-untyped-def]
        self.largest = max(self.largest, len(x) * num_samples)
        return super().log_weights(x, y, num_samples)


def test_chunks_bound_the_memory_and_keep_the_estimate() -> None:
    model = CountingVAE((6,), 2, hidden_dims=(4,)).double().eval()
    x = torch.rand(7, 6).double()
    with model.seeded(0):
        whole = importance_weighted_bound(model, x, num_samples=2000, chunk_size=10**9)
    model.largest = 0
    with model.seeded(0):
        parts = importance_weighted_bound(model, x, num_samples=2000, chunk_size=100)
    assert model.largest <= 100
    torch.testing.assert_close(whole, parts, atol=0.1, rtol=0)  # equal up to sampling noise
    with model.seeded(1):
        expected = log_mean_exp(model.log_weights(x, num_samples=1)).detach()
    with model.seeded(1):
        torch.testing.assert_close(importance_weighted_bound(model, x, num_samples=1), expected)


def test_images_are_split_into_chunks_too() -> None:
    model = CountingVAE((6,), 2, hidden_dims=(4,)).eval()
    bound = importance_weighted_bound(model, torch.rand(1000, 6), num_samples=3, chunk_size=50)
    assert bound.shape == (1000,)
    assert model.largest <= 50
    assert not bound.requires_grad


def test_zero_samples_are_refused() -> None:
    with pytest.raises(InputError, match="num_samples must be at least 1, got 0"):
        importance_weighted_bound(VAE((6,)), torch.rand(3, 6), num_samples=0)


def test_active_units_are_those_that_vary() -> None:
    codes = torch.randn(1000, 4) * torch.tensor([1.0, 0.05, 0.2, 0.0])
    assert active_units(codes) == 2


def test_probes_of_separable_and_of_shuffled_classes() -> None:
    def split(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.randint(0, 3, (n,))
        angle = 2 * math.pi * y / 3
        return torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(n, 2), y

    train, test = split(300), split(200)
    assert knn_accuracy(train, test) > 0.99
    assert linear_probe_accuracy(train, test) > 0.99
    shuffled = train[0], train[1][torch.randperm(300)]
    assert knn_accuracy(shuffled, test) < 0.7
    assert linear_probe_accuracy(shuffled, test) < 0.7


def test_features_are_the_inputs_of_the_last_layer() -> None:
    model = CNN((1, 8, 8), 10, (4, 8), hidden_dims=(6,))
    network = ClassifierFeatures(model)
    x = torch.rand(5, 1, 8, 8)
    features = network(x)
    assert features.shape == (5, 6)
    torch.testing.assert_close(network.last_linear(features), model.eval()(x))
    torch.testing.assert_close(extract_features(network, x), features)


def test_the_fingerprint_distinguishes_classifiers() -> None:
    one, other = MLPClassifier((4,), 3, (5,)), MLPClassifier((4,), 3, (5,))
    fingerprint = ClassifierFeatures(one).fingerprint
    assert len(fingerprint) == 8
    assert ClassifierFeatures(one).fingerprint == fingerprint
    assert ClassifierFeatures(other).fingerprint != fingerprint
    other.load_state_dict(one.state_dict())
    assert ClassifierFeatures(other).fingerprint == fingerprint


def test_a_network_without_a_linear_layer_has_no_features() -> None:
    with pytest.raises(InputError, match="ReLU has no linear layer"):
        ClassifierFeatures(torch.nn.ReLU())


def test_inception_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Inception weights nowhere\.pth: no such file"):
        InceptionFeatures("nowhere.pth")
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.save({"not": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="does not contain Inception weights"):
        InceptionFeatures(tmp_path / "other.pth")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(print))
    with pytest.raises(InputError, match="does not contain Inception weights"):
        InceptionFeatures(tmp_path / "evil.pth")
    # random weights in a file with the layout of the published one
    made = extractor.FeatureExtractorInceptionV3.__new__(extractor.FeatureExtractorInceptionV3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda self, state: None)
        made.__init__("x", ["2048"])
    torch.save(made.state_dict(), tmp_path / "inception.pth")
    network = InceptionFeatures(tmp_path / "inception.pth")
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 2048)


def test_the_probe_standardizes_codes() -> None:
    """A dimension that separates the classes at a scale of 10⁻⁶ counts like any other."""
    torch.manual_seed(0)
    y = torch.arange(200) % 2
    codes = torch.stack([1e-6 * (y + 0.1 * torch.randn(200)), 100 * torch.randn(200)], 1)
    assert linear_probe_accuracy((codes[:100], y[:100]), (codes[100:], y[100:])) == 1.0


def test_a_variance_at_the_threshold_is_not_active() -> None:
    codes = torch.tensor([[0.0, 0.0], [2.0, 1.0]], dtype=torch.float64)  # variances 2 and ½
    assert active_units(codes, threshold=0.5) == 1
    assert active_units(codes, threshold=0.49) == 2
