"""Bounds, units in use, probes, features."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
import torch

from zoo import CNN, VAE, MLPClassifier
from zoo.errors import InputError
from zoo.functional.likelihoods import log_mean_exp
from zoo.metrics.features import ClassifierFeatures, InceptionFeatures, features_of
from zoo.metrics.latent import (
    active_units,
    importance_weighted_bound,
    neighbor_accuracy,
    probe_accuracy,
)


class Counted(VAE):
    """Notes how many codes are decoded at once."""

    largest = 0

    def log_weights(self, x, label=None, num_samples=1):  # type: ignore[no-untyped-def]
        self.largest = max(self.largest, len(x) * num_samples)
        return super().log_weights(x, label, num_samples)


def test_chunks_bound_the_memory_and_leave_the_estimate() -> None:
    model = Counted((6,), 2, hidden_dims=(4,)).double().eval()
    x = torch.rand(7, 6).double()
    with model.seeded(0):
        whole = importance_weighted_bound(model, x, num_samples=2000, rows=10**9)
    model.largest = 0
    with model.seeded(0):
        parts = importance_weighted_bound(model, x, num_samples=2000, rows=100)
    assert model.largest <= 100
    torch.testing.assert_close(whole, parts, atol=0.1, rtol=0)  # the same up to the draws
    with model.seeded(1):
        expected = log_mean_exp(model.log_weights(x, num_samples=1)).detach()
    with model.seeded(1):
        torch.testing.assert_close(importance_weighted_bound(model, x, num_samples=1), expected)


def test_one_long_list_of_images_is_cut_too() -> None:
    model = Counted((6,), 2, hidden_dims=(4,)).eval()
    bound = importance_weighted_bound(model, torch.rand(1000, 6), num_samples=3, rows=50)
    assert bound.shape == (1000,)
    assert model.largest <= 50
    assert not bound.requires_grad


def test_no_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        importance_weighted_bound(VAE((6,)), torch.rand(3, 6), num_samples=0)


def test_units_in_use_are_those_that_vary() -> None:
    codes = torch.randn(1000, 4) * torch.tensor([1.0, 0.05, 0.2, 0.0])
    assert active_units(codes) == 2


def test_probes_read_what_is_there() -> None:
    def split(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.randint(0, 3, (n,))
        angle = 2 * math.pi * y / 3
        return torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(n, 2), y

    train, test = split(300), split(200)
    assert neighbor_accuracy(train, test) > 0.99
    assert probe_accuracy(train, test) > 0.99
    shuffled = train[0], train[1][torch.randperm(300)]
    assert neighbor_accuracy(shuffled, test) < 0.7
    assert probe_accuracy(shuffled, test) < 0.7


def test_features_are_what_the_last_layer_sees() -> None:
    model = CNN((1, 8, 8), 10, (4, 8), hidden_dims=(6,))
    network = ClassifierFeatures(model)
    x = torch.rand(5, 1, 8, 8)
    features = network(x)
    assert features.shape == (5, 6)
    torch.testing.assert_close(network.last(features), model.eval()(x))
    torch.testing.assert_close(features_of(network, x), features)


def test_the_fingerprint_tells_classifiers_apart() -> None:
    one, other = MLPClassifier((4,), 3, (5,)), MLPClassifier((4,), 3, (5,))
    mark = ClassifierFeatures(one).fingerprint
    assert len(mark) == 8
    assert ClassifierFeatures(one).fingerprint == mark
    assert ClassifierFeatures(other).fingerprint != mark
    other.load_state_dict(one.state_dict())
    assert ClassifierFeatures(other).fingerprint == mark


def test_a_network_without_a_linear_layer_has_no_features() -> None:
    with pytest.raises(ValueError, match="ReLU has no linear layer"):
        ClassifierFeatures(torch.nn.ReLU())


def test_inception_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there are no Inception weights in nowhere\.pth"):
        InceptionFeatures("nowhere.pth")
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.save({"not": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="are no Inception weights"):
        InceptionFeatures(tmp_path / "other.pth")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(print))
    with pytest.raises(InputError, match="are no Inception weights"):
        InceptionFeatures(tmp_path / "evil.pth")
    # the architecture with random weights, as the file of the real ones is laid out
    made = extractor.FeatureExtractorInceptionV3.__new__(extractor.FeatureExtractorInceptionV3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda self, state: None)
        made.__init__("x", ["2048"])
    torch.save(made.state_dict(), tmp_path / "inception.pth")
    network = InceptionFeatures(tmp_path / "inception.pth")
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 2048)
