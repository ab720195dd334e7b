"""Plain, denoising, contractive and sparse autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch

import zoo
from datamodules import Digits
from zoo import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
)
from zoo.functional.jacobians import estimate_squared_jacobian_norm, squared_jacobian_norm
from zoo.functional.rng import TorchRNG
from zoo.models.latent.denoising_autoencoder import corrupt, psnr
from zoo.models.latent.sparse_autoencoder import active_fraction


def test_the_loss_is_the_squared_error_per_pixel() -> None:
    model, x = Autoencoder((1, 8, 8)).eval(), torch.rand(6, 1, 8, 8)
    expected = ((model.decode(model.encode(x)) - x) ** 2).sum() / (6 * 64)
    torch.testing.assert_close(model.step((x, None))["loss"], expected)


def test_input_noise_acts_in_training_only_and_the_target_stays_clean() -> None:
    model, x = Autoencoder((100,), input_noise=0.5), torch.rand(400, 100)
    inputs: list[torch.Tensor] = []
    model.encoder.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    loss = model.step((x, None))["loss"]
    noise = inputs[0] - x
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.5, abs=0.01)
    assert (noise / 0.5).pow(4).mean().item() == pytest.approx(3, abs=0.15)  # as of a Gaussian
    clean = torch.nn.functional.mse_loss(model.reconstruct(x), x)
    target = torch.nn.functional.mse_loss(model.reconstruct(inputs[0]), x)
    torch.testing.assert_close(loss, target)
    assert model.eval().step((x, None))["loss"] == clean


@pytest.mark.parametrize(
    ("output", "function"), [("sigmoid", torch.special.expit), ("identity", torch.clone)]
)
def test_the_range_of_the_output(
    output: str, function: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    model, z = Autoencoder((9,), output=output), 10 * torch.randn(6, 2)
    torch.testing.assert_close(model.decode(z), function(model.decoder(z)))
    assert (model.decoder(z).abs() > 1).any()


def test_training_updates_the_density_of_codes_with_those_of_the_noisy_inputs() -> None:
    for model in (Autoencoder((9,), input_noise=0.5), DenoisingAutoencoder((9,), 2)):
        codes: list[torch.Tensor] = []
        model.encoder.register_forward_hook(lambda *arguments, to=codes: to.append(arguments[2]))
        model.step((torch.rand(6, 9), None))
        torch.testing.assert_close(model.code_density.mean, codes[0].detach().mean(0))


def test_eight_dimensions_beat_eight_principal_components(
    trainer: Callable[..., L.Trainer],
) -> None:
    """The error of 8 principal components on this split is 0.02489 (scikit-learn)."""
    from sklearn.decomposition import PCA

    data = Digits(batch_size=64)
    train = torch.cat([data.split("train")[0], data.split("val")[0]]).flatten(1) / 16
    test = data.split("test")[0].flatten(1) / 16
    pca = PCA(8).fit(train.numpy())
    pca_error = ((pca.inverse_transform(pca.transform(test.numpy())) - test.numpy()) ** 2).mean()
    assert pca_error == pytest.approx(0.02489, abs=2e-4)
    model = Autoencoder((1, 8, 8), 8, hidden_dims=(256, 128), lr=3e-3, schedule="one_cycle")
    trainer(max_epochs=40).fit(model, data)
    (metrics,) = trainer().test(model, data, verbose=False)
    assert metrics["test/mse"] < 0.8 * pca_error


def test_samples_come_from_the_density_of_training_codes(
    trainer: Callable[..., L.Trainer],
) -> None:
    model, data = Autoencoder((1, 8, 8), 3, schedule="cosine", lr=2e-3), Digits(batch_size=64)
    trainer(max_epochs=15).fit(model, data)
    with torch.no_grad():
        codes = model.encode(data.split("train")[0] / 16)
        sampled = model.sample_latent(20_000, torch.Generator().manual_seed(0))
    scale = codes.std(0)
    assert ((sampled.mean(0) - codes.mean(0)).abs() < 0.15 * scale).all()
    assert ((sampled.std(0) / scale - 1).abs() < 0.15).all()


def test_evaluation_does_not_change_the_density_of_codes() -> None:
    model = Autoencoder((1, 8, 8)).eval()
    before = model.code_density.mean.clone()
    model.step((torch.rand(6, 1, 8, 8), None))
    assert torch.equal(before, model.code_density.mean)


def test_a_checkpoint_of_version_0_1_is_loaded(tmp_path: Path) -> None:
    model = SparseAutoencoder((4,), 3, hidden_dims=(5,), sparsity_weight=0.1)
    weights = {name.replace("code_density.", "codes."): w for name, w in model.state_dict().items()}
    settings = {"input_shape": (4,), "latent_dim": 3, "hidden": (5,), "strength": 0.1}
    path = tmp_path / "old.ckpt"
    torch.save(
        {
            "state_dict": weights,
            "hyper_parameters": settings,
            "class_path": "zoo.autoencoders.SparseAutoencoder",
        },
        path,
    )
    loaded = zoo.load(path)
    assert loaded.hparams["sparsity_weight"] == 0.1
    for name, w in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], w)


def test_negative_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="input_noise must not be negative, got -1"):
        Autoencoder((4,), input_noise=-1)


# -- denoising ---------------------------------------------------------------------------------


def test_corruptions() -> None:
    x = 0.2 + 0.6 * torch.rand(400, 100)
    masked = corrupt(x, "masking", 0.3)
    changed = masked != x
    assert (masked[changed] == 0).all()
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.01)
    speckled = corrupt(x, "salt_and_pepper", 0.3)
    changed = speckled != x
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert set(speckled[changed].unique().tolist()) == {0, 1}
    assert speckled[changed].mean().item() == pytest.approx(0.5, abs=0.02)
    noise = corrupt(x, "gaussian", 0.3) - x
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.3, abs=0.01)
    for kind in ("masking", "gaussian", "salt_and_pepper"):
        assert torch.equal(corrupt(x, kind, 0), x)


def test_psnr_of_a_known_error() -> None:
    clean = torch.zeros(2, 1, 4, 4)
    noisy = clean + torch.tensor([0.1, 0.01])[:, None, None, None]
    torch.testing.assert_close(psnr(noisy, clean), torch.tensor([20.0, 40.0]))


def test_the_target_is_the_clean_image_in_training_and_evaluation() -> None:
    model = DenoisingAutoencoder((1, 8, 8), 4, corruption_level=0.5).eval()
    x = torch.rand(6, 1, 8, 8)
    with model.seeded(3):
        parts = model.step((x, None))
    noisy = corrupt(x, "masking", 0.5, TorchRNG(torch.Generator().manual_seed(3)))
    expected = torch.nn.functional.mse_loss(model.reconstruct(noisy), x)
    torch.testing.assert_close(parts["mse"], expected)
    torch.testing.assert_close(parts["psnr"], psnr(model.reconstruct(noisy), x).mean())
    torch.testing.assert_close(parts["noisy_psnr"], psnr(noisy, x).mean())


def test_denoising_removes_noise_that_a_plain_autoencoder_keeps(
    trainer: Callable[..., L.Trainer],
) -> None:
    data = Digits(batch_size=64)
    settings = {"hidden_dims": (256,), "lr": 3e-3, "schedule": "one_cycle"}
    plain = Autoencoder((1, 8, 8), 32, **settings)
    denoising = DenoisingAutoencoder(
        (1, 8, 8), 32, corruption="gaussian", corruption_level=0.3, **settings
    )
    clean = data.split("test")[0] / 16
    noisy = corrupt(clean, "gaussian", 0.3, TorchRNG(torch.Generator().manual_seed(0)))
    values = []
    for model in (plain, denoising):
        trainer(max_epochs=30).fit(model, data)
        with torch.no_grad():
            values.append(psnr(model.eval().reconstruct(noisy), clean).mean().item())
    assert values[1] > values[0] + 1.5
    assert values[1] > psnr(noisy, clean).mean().item() + 5


# -- contractive -------------------------------------------------------------------------------


def test_the_jacobian_of_a_sigmoid_layer_has_a_closed_form() -> None:
    """Σ_j (h_j (1 − h_j))² Σ_i W_ji² (Rifai et al., section 4)."""
    model = ContractiveAutoencoder((7,), 5, hidden_dims=(), contraction_weight=0.3).double().eval()
    x = torch.rand(6, 7).double()
    h, weight = model.encode(x), model.encoder[0][1].weight
    expected = ((h * (1 - h)).square() * weight.square().sum(1)).sum(1)
    torch.testing.assert_close(squared_jacobian_norm(model.encode, x), expected, rtol=1e-12, atol=0)
    parts = model.step((x, None))
    torch.testing.assert_close(parts["loss"], parts["mse"] + 0.3 * expected.mean())
    (ours,) = torch.autograd.grad(parts["jacobian"], weight, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected.mean(), weight)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)


def test_the_jacobian_norm_of_a_convolutional_encoder() -> None:
    model = ContractiveAutoencoder((1, 8, 8), 3, network="conv", hidden_dims=(4,)).double()
    x = torch.rand(2, 1, 8, 8).double()
    rows = torch.autograd.functional.jacobian(model.encode, x)  # (B, D, B, ...)
    expected = torch.stack([rows[i, :, i].square().sum() for i in range(2)])
    torch.testing.assert_close(squared_jacobian_norm(model.encode, x), expected)


def test_the_estimate_is_unbiased() -> None:
    model = ContractiveAutoencoder((7,), 5, hidden_dims=(6,)).double()
    x = torch.rand(1, 7).double()
    estimates = estimate_squared_jacobian_norm(model.encode, x.expand(40_000, 7)).detach()
    exact = float(squared_jacobian_norm(model.encode, x))
    assert abs(float(estimates.mean()) - exact) < 4 * float(estimates.std()) / 200


def test_the_estimate_replaces_the_exact_penalty_in_training_only() -> None:
    model = ContractiveAutoencoder((7,), 5, hidden_dims=(), jacobian="estimate").double()
    x = torch.rand(1, 7).double()
    h, weight = model.encode(x), model.encoder[0][1].weight
    exact = float(((h * (1 - h)).square() * weight.square().sum(1)).sum().detach())
    batch = (x.expand(20_000, 7), None)
    estimate = float(model.step(batch)["jacobian"])
    assert estimate == pytest.approx(exact, rel=0.05)
    assert estimate != pytest.approx(exact, rel=1e-6)
    assert float(model.eval().step(batch)["jacobian"]) == pytest.approx(exact, rel=1e-12)


def test_the_penalty_is_exact_in_evaluation(trainer: Callable[..., L.Trainer]) -> None:
    """``trainer.test`` runs in inference mode, which does not allow gradients by default."""
    model = ContractiveAutoencoder((1, 8, 8), 6, jacobian="estimate")
    data = Digits()
    (metrics,) = trainer().test(model, data, verbose=False)
    x = data.split("test")[0] / 16
    expected = float(squared_jacobian_norm(model.encode, x).mean())
    assert metrics["test/jacobian"] == pytest.approx(expected, rel=1e-4)


# -- sparse ------------------------------------------------------------------------------------


def test_penalties_on_codes() -> None:
    x = torch.rand(6, 7).double()
    l1 = SparseAutoencoder((7,), 9, sparsity_weight=0.1).double()
    parts, z = l1.step((x, None)), l1.encode(x)
    assert (z >= 0).all()
    torch.testing.assert_close(parts["sparsity"], z.abs().sum() / 6)
    torch.testing.assert_close(parts["loss"], parts["mse"] + 0.1 * parts["sparsity"])
    kl = SparseAutoencoder((7,), 9, sparsity="kl", target_rate=0.1).double()
    parts, rate = kl.step((x, None)), kl.encode(x).mean(0)
    torch.testing.assert_close(
        parts["sparsity"],
        (0.1 * (0.1 / rate).log() + 0.9 * (0.9 / (1 - rate)).log()).sum(),
    )


def test_the_fraction_of_active_units() -> None:
    z = torch.zeros(3, 8)
    z[0, :2] = -3.0  # two of eight are equal
    z[1] = 5.0
    z[2, :2] = torch.tensor([1.0, 3.0])  # (1 + 3)² / (8 (1 + 9))
    torch.testing.assert_close(active_fraction(z), torch.tensor([0.25, 1.0, 0.2]))


@pytest.mark.parametrize("sparsity", ["l1", "kl"])
def test_a_penalty_makes_fewer_units_active(
    sparsity: str, trainer: Callable[..., L.Trainer]
) -> None:
    active = []
    for weight in (0.0, 1e-3):
        model = SparseAutoencoder(
            (1, 8, 8), 100, sparsity=sparsity, sparsity_weight=weight, hidden_dims=(), lr=1e-2
        )
        data = Digits(batch_size=128)
        trainer(max_epochs=15).fit(model, data)
        (metrics,) = trainer().test(model, data, verbose=False)
        active.append(metrics["test/active"])
    assert active[1] < 0.6 * active[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Autoencoder((4,), output="tanh"), "unknown output 'tanh'"),
        (lambda: Autoencoder((4,), 4), "latent_dim=4 is not smaller than a sample"),
        (lambda: DenoisingAutoencoder((4,), corruption="rain"), "unknown corruption 'rain'"),
        (lambda: DenoisingAutoencoder((4,), input_noise=0.1), "leave input_noise at 0"),
        (
            lambda: DenoisingAutoencoder((4,), corruption_level=1.5),
            "corruption_level must be between 0 and 1, got 1.5",
        ),
        (
            lambda: ContractiveAutoencoder((4,), contraction_weight=-1),
            "contraction_weight must not be negative",
        ),
        (lambda: ContractiveAutoencoder((4,), jacobian="half"), "unknown jacobian 'half'"),
        (lambda: SparseAutoencoder((4,), sparsity="l0"), "unknown sparsity 'l0'"),
        (lambda: SparseAutoencoder((4,), sparsity="kl", code_activation="relu"), "needs code_act"),
        (
            lambda: SparseAutoencoder((4,), target_rate=1.0),
            "target_rate must be at least 0 and",
        ),
    ],
)
def test_invalid_arguments(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
