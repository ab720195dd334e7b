"""GANs: training steps, gradients, the EMA of the generator, networks, metrics, remarks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn

import zoo
from datamodules import Digits, Gaussians2D
from tests.core.test_resume import check_exact_resumption
from tests.test_models import Repeat
from zoo import GAN, ConditionalGAN

SMALL: dict[str, Any] = {"latent_dim": 8, "hidden_dims": (16,), "lr": 0.01}
SGD: dict[str, Any] = {"optimizer": "sgd", "optimizer_options": {"momentum": 0.0}}


def batch(samples: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(samples, 1, 8, 8, generator=generator), torch.arange(samples) % 10


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in network.parameters()])


class WeightHistory(L.Callback):
    """Records the weights of both networks before training and after every batch."""

    def __init__(self) -> None:
        self.discriminator: list[Tensor] = []
        self.generator: list[Tensor] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.on_train_batch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        self.discriminator.append(weights(pl_module.discriminator))
        self.generator.append(weights(pl_module.generator))

    def changes(self, name: str) -> list[bool]:
        """Return whether each batch changed the weights of a network."""
        states = getattr(self, name)
        return [not torch.equal(a, b) for a, b in zip(states[:-1], states[1:], strict=True)]


# -- steps -----------------------------------------------------------------------------------------


def test_each_batch_is_one_step_of_the_trainer(trainer: Callable[..., L.Trainer]) -> None:
    fit = trainer(max_epochs=2)
    fit.fit(GAN((1, 8, 8), **SMALL), Repeat(batch(), 7))
    assert fit.global_step == 14


class Seed(L.Callback):
    """Seeds the global generator before every batch."""

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        torch.manual_seed(7)


def descend(network: nn.Module, loss: Tensor, rate: float) -> None:
    """Take a step of gradient descent."""
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for p, gradient in zip(parameters, gradients, strict=True):
            p -= rate * gradient


@pytest.mark.parametrize("penalty", ["r1", "gradient"])
def test_a_step_of_both_networks_by_their_formulas(
    penalty: str, trainer: Callable[..., L.Trainer]
) -> None:
    """The discriminator descends −log σ(D(x, y)) − log(1 − σ(D(x̃, y))) + 2 · penalty, and then the
    generator −log σ(D(x̃, y)) with the new discriminator, on the same x̃ = G(z, y)."""
    x, y = batch(6)
    x = x.double()
    model = ConditionalGAN((1, 8, 8), 10, penalty=penalty, penalty_weight=2.0, **(SMALL | SGD))
    copied = copy.deepcopy(model.double())
    fit = trainer(max_steps=1, callbacks=[Seed()])
    fit.fit(model, Repeat((x, y), 1))

    def score(x: Tensor) -> Tensor:
        return copied.discriminator(2 * x - 1, y)

    torch.manual_seed(7)
    z = torch.empty(6, 8).double().normal_()
    codes = torch.cat([z, nn.functional.one_hot(y, 10).double()], 1)
    fake = (1 + copied.generator(codes).tanh()) / 2
    objective = -score(x).sigmoid().log().mean() - (-score(fake.detach())).sigmoid().log().mean()
    point = x.clone()
    if penalty == "gradient":
        t = torch.rand(6, 1, 1, 1, dtype=torch.float64)
        point = x + t * (fake.detach() - x)
    point.requires_grad_()
    (slope,) = torch.autograd.grad(score(point).sum(), point, create_graph=True)
    norm = slope.flatten(1).norm(dim=1)
    value = 2 * (norm.square() / 2 if penalty == "r1" else (norm - 1).square()).mean()
    descend(copied.discriminator, objective + value, 0.01)
    generator_loss = -score(fake).sigmoid().log().mean()
    descend(copied.generator, generator_loss, 0.01)
    for name in ("discriminator", "generator"):
        found, expected = (weights(getattr(m, name)) for m in (model, copied))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    expected_parts = {
        "loss": objective + value, "discriminator_loss": objective,
        "discriminator_penalty": value, "generator_loss": generator_loss,
    }  # fmt: skip
    for name, expected in expected_parts.items():
        assert float(fit.callback_metrics[f"train/{name}"]) == pytest.approx(expected.item())


def test_evaluation_steps_use_the_ema_and_training_steps_the_generator() -> None:
    model, (x, y) = GAN((1, 8, 8), **SMALL).double(), batch(6)
    for p in model.generator.parameters():
        nn.init.normal_(p)
    for network in (model.ema, model.generator):
        model.train(network is model.generator)
        with model.seeded(3):
            parts = model.step((x.double(), y))
        z = torch.empty(6, 8).double().normal_(generator=torch.Generator().manual_seed(3))
        fake = (1 + network(z).tanh()) / 2
        torch.testing.assert_close(parts["outputs"][0], fake)
        expected = -model.discriminator(2 * fake - 1).sigmoid().log().mean()
        torch.testing.assert_close(parts["generator_loss"], expected)


def test_codes_are_standard_normal() -> None:
    z = GAN((1, 8, 8), latent_dim=50).sample_latent(4_000, torch.Generator().manual_seed(0))
    moments = [float(z.pow(k).mean()) for k in (1, 2, 4)]
    assert moments == pytest.approx([0, 1, 3], abs=0.05)


def test_max_steps_counts_batches(trainer: Callable[..., L.Trainer]) -> None:
    history = WeightHistory()
    trainer(max_steps=5, callbacks=[history]).fit(GAN((1, 8, 8), **SMALL), Repeat(batch(), 7))
    assert history.changes("discriminator") == history.changes("generator") == [True] * 5


def test_the_discriminator_takes_several_steps_for_each_of_the_generator(
    trainer: Callable[..., L.Trainer],
) -> None:
    history = WeightHistory()
    fit = trainer(max_epochs=1, callbacks=[history])
    fit.fit(GAN((1, 8, 8), discriminator_steps=3, **SMALL), Repeat(batch(), 7))
    assert fit.global_step == 7
    assert history.changes("discriminator") == [True] * 7
    assert history.changes("generator") == [False, False, True, False, False, True, False]


def test_accumulated_batches_equal_one_large_batch(trainer: Callable[..., L.Trainer]) -> None:
    """Three steps on batches of 64 give the same weights as three steps on pairs of batches of 32
    with the same noise."""
    x, y = batch(64)
    halves = [(x[:32], y[:32]), (x[32:], y[32:])] * 3
    results = []
    losses = []
    for batches, every in (([(x, y)] * 3, 1), (halves, 2)):
        torch.manual_seed(0)
        model = GAN((1, 8, 8), accumulate_grad_batches=every, **(SMALL | SGD)).double()
        doubles = [(a.double(), b) for a, b in batches]
        fit = trainer(max_epochs=1)
        fit.fit(model, torch.utils.data.DataLoader(doubles, batch_size=None))  # type: ignore[arg-type]
        assert fit.global_step == 3
        results.append(torch.cat([weights(model.discriminator), weights(model.generator)]))
        losses.append(
            [float(fit.callback_metrics[f"train/{k}"]) for k in ("loss", "generator_loss")]
        )
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    assert losses[0] == pytest.approx(losses[1])


def test_the_last_batches_of_an_epoch_make_a_step_even_if_there_are_too_few(
    trainer: Callable[..., L.Trainer],
) -> None:
    fit = trainer(max_epochs=2)
    fit.fit(GAN((1, 8, 8), accumulate_grad_batches=3, **SMALL), Repeat(batch(), 7))
    assert fit.global_step == 6


def test_a_schedule_ends_with_training_when_batches_are_accumulated(
    trainer: Callable[..., L.Trainer],
) -> None:
    model = GAN(
        (1, 8, 8), accumulate_grad_batches=2, schedule="linear", discriminator_lr=0.02, **SMALL
    )
    fit = trainer(max_epochs=2)
    fit.fit(model, Repeat(batch(), 10))
    rates = [o.param_groups[0]["lr"] for o in fit.optimizers]
    assert rates == pytest.approx([0, 0], abs=1e-12)
    assert [o.param_groups[0]["initial_lr"] for o in fit.optimizers] == [0.02, 0.01]


def test_each_network_has_the_schedule_of_its_own_steps(
    trainer: Callable[..., L.Trainer],
) -> None:
    """Linear to 0: 6 steps of the discriminator, 2 epochs of ⌈7 / 3⌉, and 3 of the generator."""
    rates: list[list[float]] = [[], []]

    class RecordRates(L.Callback):
        def on_before_optimizer_step(self, trainer: L.Trainer, _: Any, optimizer: Any) -> None:
            index = [o is optimizer for o in trainer.optimizers].index(True)
            rates[index].append(optimizer.param_groups[0]["lr"])

    model = GAN(
        (1, 8, 8), accumulate_grad_batches=3, discriminator_steps=2, schedule="linear",
        discriminator_lr=0.02, **SMALL,
    )  # fmt: skip
    trainer(max_epochs=2, callbacks=[RecordRates()]).fit(model, Repeat(batch(), 7))
    assert rates[0] == pytest.approx([0.02 * (1 - k / 6) for k in range(6)])
    assert rates[1] == pytest.approx([0.01 * (1 - k / 3) for k in range(3)])
    assert model.schedule_positions(5) == [5, 2]


def test_gradients_are_clipped_and_their_norms_recorded(trainer: Callable[..., L.Trainer]) -> None:
    """The norm of a plain gradient descent step is the learning rate times the clipped norm."""
    history = WeightHistory()
    options = SMALL | SGD | {"lr": 1.0}
    model = GAN((1, 8, 8), gradient_clip_val=1e-3, **options)
    fit = trainer(max_epochs=1, callbacks=[history])
    fit.fit(model, Repeat(batch(), 3))
    for states in (history.discriminator, history.generator):
        for before, after in zip(states[:-1], states[1:], strict=True):
            assert float((after - before).norm()) == pytest.approx(1e-3, rel=1e-2)
    for name in ("discriminator_gradient_norm", "generator_gradient_norm"):
        assert float(fit.callback_metrics[f"train/{name}"]) > 2e-3


def test_each_step_changes_one_network_only(trainer: Callable[..., L.Trainer]) -> None:
    """A network with a learning rate of 0 does not change; afterwards, all weights require
    gradients again."""
    for name, rates in (("discriminator", (0.01, 0.0)), ("generator", (0.0, 0.01))):
        history = WeightHistory()
        model = GAN((1, 8, 8), **(SMALL | SGD | {"discriminator_lr": rates[0], "lr": rates[1]}))
        trainer(max_epochs=1, callbacks=[history]).fit(model, Repeat(batch(), 3))
        other = "generator" if name == "discriminator" else "discriminator"
        assert all(history.changes(name))
        assert not any(history.changes(other))
        assert all(p.requires_grad for p in model.parameters())
        assert all(p.grad is None for p in model.parameters())


def test_weights_of_the_discriminator_are_clipped(trainer: Callable[..., L.Trainer]) -> None:
    model = GAN((1, 8, 8), objective="wasserstein", weight_clip=0.02, **SMALL)
    trainer(max_epochs=1).fit(model, Repeat(batch(), 3))
    assert float(weights(model.discriminator).abs().max()) == pytest.approx(0.02)
    assert float(weights(model.generator).abs().max()) > 0.02


def test_a_lazy_penalty_is_scaled_up_for_the_steps_without_one() -> None:
    x, _ = batch()
    values = {}
    for every in (1, 4):
        torch.manual_seed(0)
        model = GAN((1, 8, 8), penalty="r1", penalty_weight=2.0, penalty_every=every, **SMALL)
        values[every] = model.discriminator_penalty(x, x, None)
    assert values[1] is not None
    torch.testing.assert_close(values[4], 4 * values[1])


def test_a_lazy_penalty_is_due_in_every_third_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, _) = GAN((1, 8, 8), penalty="r1", penalty_every=3, **SMALL), batch()
    due = []
    for step in range(7):
        monkeypatch.setattr(GAN, "global_step", step)
        due.append(model.discriminator_penalty(x, x, None) is not None)
    assert due == [True, False, False, True, False, False, True]


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precisions(trainer: Callable[..., L.Trainer], precision: Any) -> None:
    model = GAN((1, 8, 8), penalty="gradient", **SMALL)
    fit = trainer(max_epochs=1, precision=precision)
    fit.fit(model, Repeat(tuple(t.double() if precision == "64-true" else t for t in batch()), 3))
    assert fit.callback_metrics["train/loss"].isfinite()


def test_norm_penalties_and_limits_reach_both_networks(trainer: Callable[..., L.Trainer]) -> None:
    model = GAN((1, 8, 8), l2=0.1, max_norm=0.05, **SMALL)
    fit = trainer(max_epochs=1)
    fit.fit(model, Repeat(batch(), 3))
    for p in (*model.discriminator.parameters(), *model.generator.parameters()):
        if p.ndim >= 2:
            assert float(p.detach().flatten(1).norm(dim=1).max()) <= 0.05 + 1e-6
    assert float(fit.callback_metrics["train/penalty"]) > 0


# -- the EMA of the generator ----------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2])
def test_the_ema_averages_the_generator_only(every: int, trainer: Callable[..., L.Trainer]) -> None:
    """The decay rises with the number of the generator's steps, one for every such batch."""
    history = WeightHistory()
    torch.manual_seed(0)
    model = GAN((1, 8, 8), ema_decay=0.3, discriminator_steps=every, **SMALL)
    trainer(max_epochs=1, callbacks=[history]).fit(model, Repeat(batch(), 6))
    mean = history.generator[0]
    for step, w in enumerate(history.generator[every::every]):
        decay = min(0.3, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * w
    averaged = torch.cat([value.flatten() for value in model.ema.buffers()])
    torch.testing.assert_close(averaged, mean)
    assert not list(model.ema.parameters())
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {
        "discriminator",
        "generator",
    }


def test_samples_come_from_the_ema(trainer: Callable[..., L.Trainer]) -> None:
    model = GAN((1, 8, 8), ema_decay=0.9, **SMALL)
    trainer(max_epochs=1).fit(model, Repeat(batch(), 6))
    z = model.sample_latent(5)
    assert torch.equal(model.decode(z), model.output_activation(model.ema(z)))
    assert not torch.allclose(model.decode(z), model.output_activation(model.generator(z)))


def test_the_ema_is_in_evaluation_mode_and_has_the_batch_statistics_of_the_generator(
    trainer: Callable[..., L.Trainer],
) -> None:
    model = GAN((1, 8, 8), network="dcgan", hidden_dims=(4, 8), normalization="batch", latent_dim=8)
    trainer(max_epochs=1).fit(model, Repeat(batch(), 3))
    assert not any(m.training for m in model.train().ema.modules())
    for name, value in model.generator.named_buffers():
        assert torch.equal(value, model.ema.network.get_buffer(name))
    z = model.sample_latent(4)
    torch.testing.assert_close(model.decode(z)[:2], model.decode(z[:2]))  # independent of the batch


# -- resuming --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [4, 10, 12])
def test_resuming_at_any_batch_gives_the_same_weights(tmp_path: Path, stop: int) -> None:
    """In the middle of an epoch, between two generator steps, and between two penalties."""

    def make() -> GAN:
        return GAN(
            (1, 8, 8), network="dcgan", hidden_dims=(4, 8), normalization="batch", penalty="r1",
            penalty_every=3, discriminator_steps=2, schedule="linear", latent_dim=8, lr=1e-3,
        )  # fmt: skip

    check_exact_resumption(make, tmp_path, stop)


def test_a_conditional_discriminator_with_spectral_norm_resumes_exactly(tmp_path: Path) -> None:
    def make() -> ConditionalGAN:
        return ConditionalGAN((1, 8, 8), 10, spectral_norm=True, objective="hinge", **SMALL)

    check_exact_resumption(make, tmp_path, 12)


# -- networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["mlp", "dcgan", "residual"])
@pytest.mark.parametrize(
    ("shape", "hidden"),
    [((1, 28, 28), (4, 8)), ((3, 32, 32), (4, 6, 8)), ((3, 64, 64), (2, 4, 6, 8)),
     ((2, 12, 20), (4, 8))],
)  # fmt: skip
def test_networks_fit_images_of_many_sizes(
    network: str, shape: tuple[int, ...], hidden: tuple[int, ...]
) -> None:
    model = GAN(shape, 5, network=network, hidden_dims=hidden, normalization="batch")
    x = model.sample(3)
    assert x.shape == (3, *shape)
    assert 0 <= float(x.detach().min()) <= float(x.detach().max()) <= 1
    assert model.discriminate(x).shape == (3,)


def test_the_residual_networks_of_the_paper() -> None:
    """Miyato et al. 2018, table 4: for 32×32, two blocks halve the image and two do not."""
    model = GAN(
        (3, 32, 32), 128, network="residual", hidden_dims=(256, 256, 256), normalization="batch",
        discriminator_hidden_dims=(128, 128, 128, 128), spectral_norm=True,
    )  # fmt: skip
    halves = [type(block.pool) is nn.AvgPool2d for block in list(model.discriminator.features)[:4]]
    assert halves == [True, True, False, False]
    count = sum(p.numel() for p in model.generator.parameters())
    assert count == pytest.approx(4.3e6, rel=0.05)
    discriminator = sum(p.numel() for p in model.discriminator.parameters())
    assert discriminator == pytest.approx(1.05e6, rel=0.05)


def test_batch_norm_has_the_default_epsilon_and_momentum() -> None:
    for network in ("dcgan", "residual"):
        model = GAN((1, 28, 28), network=network, hidden_dims=(4, 8), normalization="batch",
                    discriminator_normalization="batch")  # fmt: skip
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        assert len(norms) >= 4
        assert all(m.eps == 1e-5 and m.momentum == 0.1 for m in norms)


def test_spectral_norm_bounds_the_gradient_of_the_discriminator() -> None:
    """The largest singular value of every layer is 1, so a ReLU network is 1-Lipschitz."""
    torch.manual_seed(0)
    model = GAN((2,), 4, hidden_dims=(32, 32), spectral_norm=True)
    for _ in range(200):
        model.discriminator(torch.randn(4, 2))
    model.eval()
    for module in model.discriminator.modules():
        if isinstance(module, nn.Linear):
            assert float(torch.linalg.matrix_norm(module.weight, 2)) == pytest.approx(1, abs=1e-3)
    a, b = torch.randn(500, 2), torch.randn(500, 2)
    slopes = (model.discriminator(a) - model.discriminator(b)).abs() / (a - b).norm(dim=1)
    assert float(slopes.max()) <= 1 + 1e-3


def test_a_discriminator_with_batch_norm_normalizes_data_and_samples_separately() -> None:
    """In one batch, the scores of data would depend on the samples."""
    model = GAN((1, 8, 8), network="dcgan", hidden_dims=(4, 8), discriminator_normalization="batch")
    x, _ = batch()
    model.train()
    expected = model.discriminate(x).detach()
    found, _ = model.scores(x, torch.rand_like(x), None)
    torch.testing.assert_close(found.detach(), expected)


# -- metrics and remarks ---------------------------------------------------------------------------


def test_accuracies_are_fractions_of_scores_on_the_right_side_of_the_threshold() -> None:
    class Fixed(GAN):
        def discriminate(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            return x.flatten(1)[:, 0]

    real, fake = torch.tensor([[2.0], [0.6], [-1.0], [3.0]]), torch.tensor([[-1.0], [0.4]])
    accuracies = {}
    for objective in ("hinge", "least_squares", "wasserstein"):
        parts = Fixed((1,), objective=objective).discriminator_losses(real, fake.repeat(2, 1), None)
        accuracies[objective] = (float(parts["accuracy_real"]), float(parts["accuracy_fake"]))
    assert accuracies["hinge"] == (0.75, 0.5)
    assert accuracies["least_squares"] == (0.75, 1.0)
    assert accuracies["wasserstein"] == (0.75, 1.0)  # the threshold is ½ (1.15 − 0.3)


def test_remarks() -> None:
    grid = Gaussians2D()
    model = GAN((2,), modes=grid.modes, mode_std=grid.mode_std)
    assert model.remarks({"modes_found": 25, "high_quality": 0.9}) == []
    assert "samples cover only 16%" in model.remarks({"modes_found": 4, "high_quality": 0.9})[0]
    assert "diverged" in model.remarks({"modes_found": 2, "high_quality": 0.01})[0]
    images = GAN((1, 8, 8))
    assert images.remarks({"density": 0.8, "coverage": 0.9}) == []
    assert "mode collapse" in images.remarks({"density": 0.8, "coverage": 0.1})[0]
    perfect = {"density": 0.8, "coverage": 0.9, "accuracy_real": 1.0, "accuracy_fake": 1.0}
    assert "separates all samples from the data" in images.remarks(perfect)[0]
    assert images.remarks({}) == []


def test_a_ring_of_gaussians_is_covered(trainer: Callable[..., L.Trainer]) -> None:
    """A plain recipe reaches this in a few seconds; the results for the grid are in
    docs/results.md."""
    torch.manual_seed(0)
    data = Gaussians2D("ring", num_samples=20_000, batch_size=256, val_size=1000, test_size=2000)
    model = zoo.create_model("gan", "gaussians_2d", modes=data.modes, hidden_dims=(128, 128))
    fit = trainer(max_steps=1500)
    fit.fit(model, data)
    (metrics,) = fit.test(model, data, verbose=False)
    assert metrics["test/modes_found"] == 8
    assert metrics["test/high_quality"] > 0.5
    assert model.remarks({k.removeprefix("test/"): v for k, v in metrics.items()}) == []


def test_mode_collapse_is_reported_at_the_end_of_a_run(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the saturating loss and a discriminator far ahead, most modes are never reached."""
    run(
        "--model=gan", "--data=gaussians_2d", "--model.objective=minimax", "--model.penalty=none",
        "--model.discriminator_lr=0.01", "--trainer.max_steps=200", "--data.num_samples=10000",
        "--trainer.enable_progress_bar=false",
    )  # fmt: skip
    output = capsys.readouterr().out
    assert "mode collapse: samples cover only" in output or "diverged: hardly any" in output


def test_coverage_of_images_rises_with_training(trainer: Callable[..., L.Trainer]) -> None:
    torch.manual_seed(0)
    data, model = Digits(batch_size=64, drop_last=True), zoo.create_model("dcgan")
    (before,) = trainer().test(model, data, verbose=False)
    trainer(max_epochs=40).fit(model, data)
    (after,) = trainer().test(model, data, verbose=False)
    assert before["test/coverage"] < 0.05
    assert after["test/coverage"] > 0.25
    assert after["test/density"] > 0.1


# -- invalid arguments and data --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "wgan"}, "unknown objective 'wgan'"),
        ({"penalty": "gp"}, "unknown penalty 'gp'"),
        ({"discriminator_steps": 0}, "discriminator_steps must be at least 1, got 0"),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches must be at least 1"),
        ({"ema_decay": 1.0}, "ema_decay must be at least 0 and below 1, got 1.0"),
        ({"modes": ((0.0,),)}, "modes needs mode_std, the standard deviation"),
        ({"modes": ((0.0,),), "mode_std": 0.0}, "mode_std must be positive, got 0.0"),
        ({"network": "conv"}, "unknown network 'conv'; choose from mlp, dcgan, residual"),
        (
            {"network": "dcgan", "hidden_dims": (4, 4, 4, 4)},
            "images of 8×8 pixels cannot be halved evenly",
        ),
        (
            {"network": "dcgan", "hidden_dims": (4, 8), "penalty": "gradient",
             "discriminator_normalization": "batch"},
            "penalty='gradient' needs the discriminator's gradient at each sample",
        ),
    ],
)  # fmt: skip
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GAN((1, 8, 8), **arguments)


def test_image_networks_refuse_vectors() -> None:
    for network in ("dcgan", "residual"):
        with pytest.raises(ValueError, match="images \\(channels, height, width\\)"):
            GAN((2,), network=network)


def test_a_conditional_model_refuses_data_without_classes(fails: Callable[..., str]) -> None:
    message = fails("fit", "--model=conditional_gan", "--data=diabetes")
    assert "ConditionalGAN needs num_classes, which Diabetes does not have" in message


def test_clipping_and_accumulation_by_the_trainer_are_refused(fails: Callable[..., str]) -> None:
    message = fails("--model=gan", "--trainer.gradient_clip_val=1")
    assert "--model.gradient_clip_val" in message
    message = fails("--model=gan", "--trainer.accumulate_grad_batches=2")
    assert "--model.accumulate_grad_batches" in message
