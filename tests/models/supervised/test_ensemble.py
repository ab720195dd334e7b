"""Ensembles against separately trained members and exact averages."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import nn

import zoo
from datamodules import Digits, ToyCurves
from zoo import DeepEnsemble, DeepEnsembleRegressor, MCDropout, MCDropoutRegressor
from zoo.networks.ensemble import forward_with_dropout, vmap_members

Trainer = Callable[..., L.Trainer]
MEMBER = {"hidden_dims": (16,), "dropout": 0.0, "input_dropout": 0.0}


@pytest.mark.parametrize(
    ("member", "settings"),
    [
        ("mlp", MEMBER),
        ("mlp", MEMBER | {"normalization": "batch"}),
        ("cnn", {"channels": (4, 8), "pool_size": 2, "conv_dropout": 0.0}),
    ],
)
def test_members_equal_separately_trained_models(
    member: str, settings: dict[str, Any], trainer: Trainer
) -> None:
    """Weights after ten steps of Adam."""
    training = {"lr": 0.01, "schedule": "constant", "label_smoothing": 0.1}
    ensemble = DeepEnsemble((1, 8, 8), 10, 3, member=member, member_settings=settings, **training)
    alone = []
    for one in ensemble.members:
        own = {"channels_last": False} if member == "cnn" else {}
        copy = zoo.create_model(
            member, **settings, **training, **own, input_shape=(1, 8, 8), num_classes=10
        )
        copy.load_state_dict(one.state_dict())
        alone.append(copy)
    for model in (ensemble, *alone):
        fit = trainer(max_steps=10, precision="64-true")
        fit.fit(model, Digits(batch_size=32))
    for together, single in zip(ensemble.members, alone, strict=True):
        for (name, one), two in zip(
            together.state_dict().items(), single.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-9, msg=name)


def test_predictions_are_the_mean_of_the_members() -> None:
    ensemble = DeepEnsemble((1, 8, 8), 10, member_settings=MEMBER, num_members=4).eval()
    x, y = torch.rand(6, 1, 8, 8), torch.arange(6)
    probabilities = torch.stack([m(x).softmax(1) for m in ensemble.members])
    mean = probabilities.mean(0)
    torch.testing.assert_close(ensemble(x).softmax(1), mean)
    torch.testing.assert_close(ensemble(x).exp(), mean)  # logits are log-probabilities
    parts = ensemble.step((x, y))
    torch.testing.assert_close(parts["nll"], -mean[range(6), y].log().mean())
    torch.testing.assert_close(parts["entropy"], -(mean * mean.log()).sum(1).mean())
    brier = (mean - nn.functional.one_hot(y, 10)).square().sum(1).mean()
    torch.testing.assert_close(parts["brier"], brier)
    member_nll = -probabilities[:, range(6), y].log().mean()
    torch.testing.assert_close(parts["member_nll"], member_nll)
    torch.testing.assert_close(parts["loss"], 4 * member_nll)
    y = torch.where(y < 4, mean.argmax(1), y)
    parts = ensemble.step((x, y))
    assert float(parts["accuracy"]) == float((mean.argmax(1) == y).float().mean()) >= 4 / 6
    member_accuracy = float((probabilities.argmax(2) == y).float().mean())
    assert float(parts["member_accuracy"]) == pytest.approx(member_accuracy)
    parts = ensemble.step((x, torch.arange(6)))
    assert parts["nll"] <= parts["member_nll"]  # Jensen


def test_members_have_different_initial_weights() -> None:
    ensemble = DeepEnsemble((1, 8, 8), 10, member_settings=MEMBER, num_members=2)
    first, second = (m.network[1].weight for m in ensemble.members)
    assert not torch.equal(first, second)


def test_members_have_different_dropout_masks() -> None:
    settings = {"hidden_dims": (64,), "dropout": 0.5, "input_dropout": 0.0}
    ensemble = DeepEnsemble((1, 8, 8), 10, 2, member_settings=settings).train()
    ensemble.members[1].load_state_dict(ensemble.members[0].state_dict())
    first, second = vmap_members(ensemble.members, torch.rand(3, 1, 8, 8))
    assert not torch.equal(first, second)


def test_an_ensemble_of_one_member_predicts_like_that_member() -> None:
    single = DeepEnsemble((1, 8, 8), 10, member_settings=MEMBER, num_members=1).eval()
    x = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(single(x).softmax(1), single.members[0](x).softmax(1))


def test_regressors_learn_a_sine(trainer: Trainer) -> None:
    data = ToyCurves(noise=0.05)
    model = DeepEnsembleRegressor(
        data.input_shape, data.num_targets, 3, target_mean=data.target_mean,
        target_std=data.target_std, member_settings={"hidden_dims": (32,)}, lr=0.02,
    )  # fmt: skip
    fit = trainer(max_epochs=60)
    fit.fit(model, data)
    (metrics,) = fit.test(model, data, verbose=False)
    assert metrics["test/mse"] < 0.01  # the variance of sin πx is 0.5
    assert metrics["test/mse"] <= metrics["test/member_mse"] + 1e-9
    assert 0 < metrics["test/spread"] < 0.1


@pytest.mark.parametrize("num_targets", [1, 3])
def test_regressors_with_variances_form_a_mixture_of_gaussians(num_targets: int) -> None:
    """The references are sums over members and ``torch.distributions``."""
    settings = {"hidden_dims": (16,), "predict_variance": True}
    scale = {"target_mean": (5.0,) * num_targets, "target_std": (2.0,) * num_targets}
    model = DeepEnsembleRegressor((4,), num_targets, 3, member_settings=settings, **scale).double()
    x, y = torch.randn(7, 4).double(), 5 + 2 * torch.randn(7, num_targets).double()
    moments = torch.stack([member.moments(x) for member in model.members])  # (3, 7, T, 2)
    torch.testing.assert_close(model.member_outputs(x), moments, atol=1e-12, rtol=0)
    means, variances = moments.unbind(-1)
    mean = means.mean(0)
    mean_square = (variances + means.square()).mean(0)
    torch.testing.assert_close(model.predict(x), mean, atol=1e-12, rtol=0)
    variance = mean_square - mean.square()
    torch.testing.assert_close(model.moments(x)[..., 1], variance, atol=1e-10, rtol=0)
    assert (variance > variances.mean(0)).all()  # disagreement adds to the variance
    parts = model.step((x, y))
    nll = -torch.distributions.Normal(mean, variance.sqrt()).log_prob(y).sum(1).mean()
    torch.testing.assert_close(parts["nll"], nll, atol=1e-10, rtol=0)
    member_nll = -torch.distributions.Normal(means, variances.sqrt()).log_prob(y).sum(2).mean()
    torch.testing.assert_close(parts["member_nll"], member_nll, atol=1e-10, rtol=0)
    # the density of standardized targets is s times as high
    loss = 3 * (member_nll - num_targets * torch.tensor(2.0).double().log())
    torch.testing.assert_close(parts["loss"], loss, atol=1e-10, rtol=0)
    spread = (means - mean).square().mean(0).sqrt().mean()
    torch.testing.assert_close(parts["spread"], spread, atol=1e-10, rtol=0)
    member_mse = (means - y).square().mean()
    torch.testing.assert_close(parts["member_mse"], member_mse, atol=1e-10, rtol=0)


def test_regressors_with_variances_equal_separately_trained_models(trainer: Trainer) -> None:
    data = ToyCurves(batch_size=32)
    settings = {"hidden_dims": (8,), "predict_variance": True}
    options = {"target_mean": data.target_mean, "target_std": data.target_std, "lr": 0.01}
    ensemble = DeepEnsembleRegressor(
        data.input_shape, data.num_targets, 3, member_settings=settings, **options
    )
    alone = [
        zoo.MLPRegressor(
            data.input_shape, data.num_targets, activation="tanh", **settings, **options
        )
        for _ in ensemble.members
    ]
    for copy, one in zip(alone, ensemble.members, strict=True):
        copy.load_state_dict(one.state_dict())
    for model in (ensemble, *alone):
        trainer(max_steps=10, precision="64-true").fit(model, ToyCurves(batch_size=32))
    for together, single in zip(ensemble.members, alone, strict=True):
        for p, q in zip(together.parameters(), single.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-9)


def test_mc_dropout_of_a_regressor_with_variances() -> None:
    settings = {"hidden_dims": (16,), "dropout": 0.5, "predict_variance": True}
    model = MCDropoutRegressor((4,), 2, 7, member_settings=settings).eval()
    x, y = torch.randn(5, 4), torch.randn(5, 2)
    assert model.member_outputs(x).shape == (7, 5, 2, 2)
    parts = model.step((x, y))
    assert parts["nll"] <= parts["member_nll"]
    assert model.train().member_outputs(x).shape == (1, 5, 2, 2)


def test_the_loss_of_mc_dropout_is_that_of_standardized_targets() -> None:
    scale = {"target_mean": 5.0, "target_std": 2.0}
    settings = {"hidden_dims": (16,), "dropout": 0.5}
    model = MCDropoutRegressor((4,), 2, 3, member_settings=settings, **scale).eval()
    x, y = torch.randn(5, 4), torch.randn(5, 2)
    errors = (model.member_outputs(x)[..., 0] - y) / 2
    torch.testing.assert_close(model.step((x, y))["loss"], 3 * errors.square().mean())


def test_members_are_ordinary_models(trainer: Trainer, tmp_path: Any) -> None:
    ensemble = DeepEnsemble((1, 8, 8), 10, member_settings=MEMBER, num_members=2)
    fit = trainer(max_steps=2)
    fit.fit(ensemble, Digits())
    fit.save_checkpoint(tmp_path / "ensemble.ckpt")
    member = zoo.load(tmp_path / "ensemble.ckpt").members[1]
    assert isinstance(member, zoo.MLPClassifier)
    torch.testing.assert_close(member.network[1].weight, ensemble.members[1].network[1].weight)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeepEnsemble((4,), 3, 0), "num_members must be at least 1, got 0"),
        (lambda: DeepEnsemble((4,), 3, member="vae"), "member must be a Classifier, got VAE"),
        (lambda: DeepEnsemble((4,), 3, member="mpl"), "unknown model 'mpl'; did you mean 'mlp'"),
        (lambda: MCDropout((4,), 3, member_settings=MEMBER), "needs a model with dropout, but mlp"),
        (lambda: MCDropout((4,), 3, 0), "num_passes must be at least 1"),
        (lambda: MCDropoutRegressor((4,), 1), "needs a model with dropout"),
    ],
)
def test_bad_members(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# -- dropout -------------------------------------------------------------------------------------


def test_scaling_at_test_time_equals_the_mean_over_all_masks() -> None:
    """For a linear model E[w·(m∘x)/(1−p)] = w·x, over the 2ⁿ masks with their probabilities."""
    p, n = 0.3, 8
    model = nn.Sequential(nn.Dropout(p), nn.Linear(n, 2)).double()
    x = torch.randn(5, n).double()
    total = torch.zeros(5, 2).double()
    for bits in itertools.product((0.0, 1.0), repeat=n):
        mask = torch.tensor(bits).double()
        kept = int(mask.sum())
        probability = (1 - p) ** kept * p ** (n - kept)
        total += probability * model[1](mask * x / (1 - p))
    torch.testing.assert_close(model.eval()(x), total, atol=1e-12, rtol=0)


def test_mean_over_random_masks_converges_to_scaling() -> None:
    model = nn.Sequential(nn.Dropout(0.3), nn.Linear(8, 2)).double().eval()
    x = torch.randn(5, 8).double()
    passes = forward_with_dropout(model, x, 20_000, (nn.Dropout,), seed=0)
    error = (passes.mean(0) - model(x)).abs()
    assert (error < 5 * passes.std(0) / 20_000**0.5).all()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Dropout(0.4), (6,)),
        (nn.Dropout(0.4, inplace=True), (2, 3)),
        (nn.Dropout1d(0.4), (5, 3)),
        (nn.Dropout2d(0.4), (5, 2, 2)),
        (nn.Dropout3d(0.4), (5, 2, 2, 2)),
        (nn.AlphaDropout(0.4), (6,)),
        (nn.FeatureAlphaDropout(0.4), (5, 2, 2)),
    ],
)
def test_a_pass_has_the_masks_of_a_training_step_on_one_sample(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    x = torch.randn(1, *shape)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = layer.train()(x.clone())
    network = nn.Sequential(layer).eval()
    found = forward_with_dropout(network, x, 1, (type(layer),), seed=3)
    torch.testing.assert_close(found[0], expected)
    assert not torch.equal(found[0], x)
    both = forward_with_dropout(network, torch.cat([x, 2 * x]), 1, (type(layer),), seed=3)
    torch.testing.assert_close(both[0, :1], found[0])
    assert not layer.training
    assert torch.equal(layer(x.clone()), x)


def test_mc_dropout_has_random_but_reproducible_masks() -> None:
    model = MCDropout((1, 8, 8), 10, num_passes=5).eval()
    x = torch.rand(3, 1, 8, 8)
    before = torch.get_rng_state()
    first = model.member_outputs(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.shape == (5, 3, 10)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(model.member_outputs(x), first)
    assert not any(m.training for m in model.modules())


def test_mc_dropout_keeps_other_layers_in_evaluation_mode() -> None:
    settings = {"normalization": "batch", "hidden_dims": (8,)}
    model = MCDropout((1, 8, 8), 10, member_settings=settings, num_passes=2).eval()
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm1d))
    before = norm.running_mean.clone()
    model(torch.rand(6, 1, 8, 8))
    assert torch.equal(norm.running_mean, before)
