from collections.abc import Callable

import lightning.pytorch as L
import pytest
import torch

from datamodules import Digits
from zoo import Autoencoder


def test_the_loss_is_the_squared_error_per_pixel() -> None:
    model, x = Autoencoder((1, 8, 8)).eval(), torch.rand(6, 1, 8, 8)
    expected = ((model.decode(model.encode(x)) - x) ** 2).sum() / (6 * 64)
    torch.testing.assert_close(model.step((x, None))["loss"], expected)


def test_input_noise_acts_in_training_only_and_the_target_stays_clean() -> None:
    model, x = Autoencoder((1, 8, 8), input_noise=0.5), torch.rand(6, 1, 8, 8)
    clean = torch.nn.functional.mse_loss(model.reconstruct(x), x)
    assert model.step((x, None))["loss"] != clean
    assert model.eval().step((x, None))["loss"] == clean


def test_eight_numbers_beat_eight_principal_components(trainer: Callable[..., L.Trainer]) -> None:
    """PCA of 8 components leaves 0.02489 on this split (scikit-learn); 40 epochs go well below."""
    from sklearn.decomposition import PCA

    data = Digits(batch_size=64)
    train = torch.cat([data.split("train")[0], data.split("val")[0]]).flatten(1) / 16
    test = data.split("test")[0].flatten(1) / 16
    pca = PCA(8).fit(train.numpy())
    pca_error = ((pca.inverse_transform(pca.transform(test.numpy())) - test.numpy()) ** 2).mean()
    assert pca_error == pytest.approx(0.02489, abs=2e-4)
    model = Autoencoder((1, 8, 8), 8, hidden=(256, 128), lr=3e-3, schedule="one_cycle")
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
        drawn = model.sample_latent(20_000, torch.Generator().manual_seed(0))
    scale = codes.std(0)
    assert ((drawn.mean(0) - codes.mean(0)).abs() < 0.15 * scale).all()
    assert ((drawn.std(0) / scale - 1).abs() < 0.15).all()


def test_evaluation_leaves_the_density_alone() -> None:
    model = Autoencoder((1, 8, 8)).eval()
    before = model.codes.mean.clone()
    model.step((torch.rand(6, 1, 8, 8), None))
    assert torch.equal(before, model.codes.mean)


def test_negative_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="input_noise is a standard deviation, got -1"):
        Autoencoder((4,), input_noise=-1)
