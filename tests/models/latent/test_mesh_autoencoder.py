"""Latent models of meshes: contract, isometry, paths, figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

import callbacks
import zoo
from datamodules import Articulated, Digits
from zoo import PCA, Autoencoder, MeshAutoencoder, MeshVAE
from zoo.errors import InputError
from zoo.functional.meshes import edge_length_distortion, edge_lengths
from zoo.functional.paths import linear_path, minimize_path_energy
from zoo.functional.templates import unpack_template

Trainer = Callable[..., L.Trainer]
DATA = Articulated(num_samples=200, batch_size=16)


def make(cls: Any = MeshAutoencoder, **options: Any) -> Any:
    torch.manual_seed(0)
    small: dict[str, Any] = {"latent_dim": 4, "hidden_dims": (4, 8)}
    return cls(DATA.input_shape, DATA.template, **(small | options))


def batch() -> Any:
    return next(iter(DATA.val_dataloader()))


@pytest.mark.parametrize("network", ["spiral", "cheb", "mlp"])
@pytest.mark.parametrize("cls", [MeshAutoencoder, MeshVAE])
def test_the_contract_of_latent_models(cls: Any, network: str) -> None:
    model = make(cls, network=network).eval()
    x = batch()[0][:3]
    z = model.encode(x)
    assert z.shape == (3, 4)
    assert model.reconstruct(x).shape == x.shape
    torch.testing.assert_close(model.reconstruct(x), model.decode(z))
    assert model.sample(5, generator=torch.Generator().manual_seed(0)).shape == (5, *x.shape[1:])
    path = model.interpolate(x[:2], x[1:], steps=5)
    assert path.shape == (5, 2, *x.shape[1:])
    torch.testing.assert_close(path[0], model.reconstruct(x[:2]))
    parts = model.step(batch())
    assert {"loss", "mse", "edge_error"} <= set(parts)
    assert "bits_per_dim" not in parts
    images = model.to_images(x)
    assert images.shape == (3, 3, 160, 160)
    assert 0 <= float(images.min()) < 0.7
    assert float(images.max()) == 1


def test_everything_that_pooling_needs_is_saved() -> None:
    state = make().state_dict()
    assert {"faces", "edges"} <= set(state)
    stored = [name for name in state if name.endswith(("kept", "corners", "weights", "spiral"))]
    assert len(stored) == 2 + 2 * 2 + 5
    make().load_state_dict(state)


def test_networks_map_offsets_from_the_template() -> None:
    model, x = make().double().eval(), batch()[0][:3].double()
    template = unpack_template(DATA.template)[0]
    z = model.encode(x)
    torch.testing.assert_close(z, model.encoder[0][1](x - template))
    torch.testing.assert_close(model.decode(z), model.decoder[0](z) + template)
    assert template.abs().max() > 0.5


def test_the_isometry_error() -> None:
    model = make(isometry_weight=0.7).eval()
    x = batch()[0]
    z, lengths = model.encode(x), edge_lengths(x, model.edges)
    middle = model.decode((z + z.roll(1, 0)) / 2)
    target = (lengths + lengths.roll(1, 0)) / 2
    expected = ((edge_lengths(middle, model.edges) - target) / target).square().mean()
    parts = model.step((x, None))
    torch.testing.assert_close(parts["isometry_error"], expected)
    torch.testing.assert_close(parts["loss"], parts["mse"] + 0.7 * expected)
    found = edge_lengths(model.reconstruct(x), model.edges)
    error = ((found - lengths).abs().sum(1) / lengths.sum(1)).mean()
    torch.testing.assert_close(parts["edge_error"], error)
    assert "isometry_error" not in make().eval().step((x, None))


def test_the_isometry_error_of_training_is_at_random_points() -> None:
    """In training, t is uniform for each pair; in evaluation it is ½ (the test above)."""
    model = make().double().train()
    x = batch()[0].double()
    z, lengths = model.encode(x), edge_lengths(x, model.edges)
    torch.manual_seed(3)
    found = model.isometry_error(x)
    torch.manual_seed(3)
    t = torch.rand(len(x), 1).double()
    assert t.min() < 0.3
    assert t.max() > 0.7
    shapes = model.decode((1 - t) * z + t * z.roll(1, 0))
    target = (1 - t) * lengths + t * lengths.roll(1, 0)
    expected = ((edge_lengths(shapes, model.edges) - target) / target).square().mean()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_the_energy_of_a_path_by_its_formula() -> None:
    """Σ_k [mean ((ℓ_{k+1} − ℓ_k) / ℓ̄)² + 0.01 mean (v_{k+1} − v_k)²]."""
    model = make().double()
    shapes = torch.stack([batch()[0][k : k + 2].double() for k in (0, 2, 4, 6)])  # (4, 2, V, 3)
    lengths = edge_lengths(shapes, model.edges)
    total = 0.0
    for k in range(3):
        change = (lengths[k + 1] - lengths[k]) / lengths.mean(0)
        total += float(change.square().mean())
        total += 0.01 * float((shapes[k + 1] - shapes[k]).square().mean())
    assert model.path_energy(shapes).item() == pytest.approx(total, rel=1e-12)
    # the mean lengths are constants of the gradient: the slope along the direction of scaling
    shapes.requires_grad_()
    (gradient,) = torch.autograd.grad(model.path_energy(shapes), shapes)
    slope = (gradient * shapes.detach()).sum().item()
    assert slope == pytest.approx(2 * total, rel=1e-9)  # both terms are quadratic in the scale


def test_the_path_of_least_energy_for_a_known_energy() -> None:
    """The sum of squared steps is least on a straight line with equal steps; the ends stay."""
    torch.manual_seed(0)
    line = torch.randn(6, 2, 3, dtype=torch.float64)
    found = minimize_path_energy(line, lambda z: z.diff(dim=0).square().sum())
    torch.testing.assert_close(found, linear_path(line[0], line[-1], 6), rtol=0, atol=1e-5)
    assert torch.equal(minimize_path_energy(line[:2], lambda z: z.sum()), line[:2])


def test_isometric_paths_stretch_less(trainer: Trainer) -> None:
    """With the isometry penalty in training, shapes on a path of least energy have more constant
    edge lengths than shapes whose vertices move on straight lines."""
    torch.manual_seed(0)
    model = MeshAutoencoder(
        DATA.input_shape,
        DATA.template,
        8,
        hidden_dims=(8, 16),
        lr=4e-3,
        schedule="cosine",
        isometry_weight=1.0,
    )
    trainer(max_epochs=25, limit_val_batches=0).fit(model, DATA)
    model.eval()
    x, y = DATA.split("test")
    x0, x1 = x[y == 2][:1], x[y == 3][:1]  # a squat and a jump
    with torch.inference_mode():  # as in trainer.test
        straight = model.interpolate(x0, x1, 7, "linear")[:, 0]
        relaxed = model.interpolate(x0, x1, 7, "isometric")[:, 0]
        ends = straight[0], straight[-1]
        torch.testing.assert_close(relaxed[0], ends[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(relaxed[-1], ends[1], rtol=0, atol=1e-5)

        def energy(path: torch.Tensor) -> float:
            return float(model.path_energy(path[:, None]))

        assert energy(relaxed) < energy(straight)
        vertices = linear_path(x0.flatten(1), x1.flatten(1), 7).view(7, -1, 3)
        assert edge_length_distortion(relaxed, *ends, model.edges) < edge_length_distortion(
            vertices, x0[0], x1[0], model.edges
        )


def test_invalid_arguments() -> None:
    with pytest.raises(ValueError, match="the template has 1046 vertices, input_shape is"):
        MeshAutoencoder((100, 3), DATA.template)
    with pytest.raises(ValueError, match="not a template made by pack_template"):
        MeshAutoencoder(DATA.input_shape, "star")
    with pytest.raises(ValueError, match="isometry_weight must not be negative"):
        make(isometry_weight=-1.0)
    with pytest.raises(ValueError, match="unknown network 'conv'; choose from spiral, cheb, mlp"):
        make(network="conv")
    with pytest.raises(ValueError, match=r"pooling factors \(40, 40\) leave fewer than 4 of 1046"):
        make(pooling_factor=40)
    with pytest.raises(ValueError, match="needs likelihood='gaussian', got 'categorical'"):
        make(MeshVAE, likelihood="categorical")
    choices = "choose from linear, spherical, isometric"
    with pytest.raises(ValueError, match=f"unknown path 'crooked'; {choices}"):
        make().interpolate(batch()[0][:1], batch()[0][1:2], 3, "crooked")


def test_figures_of_shapes(trainer: Trainer, tmp_path: Path) -> None:
    model = make(MeshVAE)
    figures = [
        callbacks.Reconstructions(4), callbacks.LatentScatter(50), callbacks.LatentManifold(3),
        callbacks.LatentInterpolation(2, 4, "isometric"), callbacks.Samples(4),
        callbacks.ShapeInterpolation(10, 4), callbacks.LatentWalk(3, 3),
    ]  # fmt: skip
    fit = trainer(max_epochs=1, callbacks=figures, default_root_dir=tmp_path)
    fit.fit(model, Articulated(num_samples=40, val_size=12))
    written = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert written == [
        "latent_interpolation.png", "latent_manifold.png", "latent_scatter.png",
        "latent_walk.gif", "latent_walk.png", "reconstructions.png", "samples.png",
        "shape_interpolation.png",
    ]  # fmt: skip
    from PIL import Image

    with Image.open(tmp_path / "figures" / "latent_walk.gif") as animation:
        assert animation.n_frames == 9


def test_the_error_of_pca_is_printed_beside_that_of_the_model(trainer: Trainer) -> None:
    from sklearn.decomposition import PCA as Oracle

    data = Articulated(num_samples=60, val_size=0)
    train, test = (data.split(name)[0].flatten(1).double() for name in ("train", "test"))
    oracle = Oracle(4).fit(train.numpy())
    found = torch.from_numpy(oracle.inverse_transform(oracle.transform(test.numpy())))
    model = make()
    (metrics,) = trainer().test(model, data, verbose=False)
    assert metrics["test/pca_mse"] == pytest.approx(float((found - test).square().mean()), rel=1e-5)
    assert "pca_mse" in model.describe_metrics()
    # without the training shapes there is nothing to fit
    (metrics,) = trainer().test(model, data.test_dataloader(), verbose=False)
    assert "test/pca_mse" not in metrics


def test_any_latent_model_draws_meshes_with_their_template() -> None:
    x = batch()[0][:2]
    models = [
        cls(DATA.input_shape, latent_dim=2, template=DATA.template) for cls in (PCA, Autoencoder)
    ]
    assert all(model.has_images for model in models)
    for model in models:
        assert torch.equal(model.to_images(x), make().to_images(x))
    assert not PCA(DATA.input_shape, 2).has_images


def test_few_frames_are_trained_for_as_many_steps(run: Callable[..., Path]) -> None:
    """The recipe's length is in steps; a number of epochs replaces it."""
    import yaml

    def settings(*options: str) -> Any:
        small = ("--data.num_samples=40", "--model.hidden_dims=[4,8]", "--trainer.callbacks=null")
        folder = run("--model=mesh_autoencoder", *small, *options)
        return yaml.safe_load((folder / "config.yaml").read_text())["trainer"]

    full = settings("--trainer.fast_dev_run=false", "--trainer.max_time=00:00:00:01")
    assert (full["max_epochs"], full["max_steps"]) == (None, 2040)
    assert 60 * len(Articulated().train_dataloader()) == 2040  # the epochs of the default data
    short = settings("--trainer.max_epochs=1")
    assert (short["max_epochs"], short["max_steps"]) == (1, -1)


def test_pixels_are_not_coordinates(trainer: Trainer) -> None:
    model = Autoencoder(DATA.input_shape, 2, hidden_dims=(8,))
    with pytest.raises(
        InputError, match=r"output='sigmoid' needs pixels in \[0, 1\], the data has"
    ):
        trainer(max_epochs=1).fit(model, DATA)


def test_callbacks_that_do_not_fit(trainer: Trainer) -> None:
    with pytest.raises(InputError, match=r"PCA cannot show samples of shape \(1046, 3\)"):
        PCA(DATA.input_shape, 2).to_images(batch()[0])
    paths = callbacks.LatentInterpolation(kind="isometric")
    plain = Autoencoder(DATA.input_shape, 2, hidden_dims=(8,), output="identity")
    with pytest.raises(InputError, match=r"cannot draw samples of shape \(1046, 3\): leave Latent"):
        trainer(max_epochs=1, callbacks=[paths]).fit(plain, DATA)
    images = Autoencoder((1, 8, 8), 2, hidden_dims=(8,))
    with pytest.raises(
        InputError, match=r"unknown kind of path 'isometric'; .*choose from linear, spher"
    ):
        trainer(max_epochs=1, callbacks=[paths]).fit(images, Digits())


def test_commands_show_shapes(run: Callable[..., Path], tmp_path: Path) -> None:
    """The commands interpolate, traverse and arithmetic on a checkpoint of a mesh model."""
    from zoo.cli.main import main

    folder = run("--model=mesh_vae", "--trainer.max_epochs=1", "--data.num_samples=60",
                 "--trainer.callbacks=null", "--model.hidden_dims=[4,8]")  # fmt: skip
    checkpoint = str(folder / "checkpoints" / "best.ckpt")
    main(["interpolate", checkpoint, "--steps", "4"])
    main(["traverse", checkpoint, "--steps", "3", "--dims", "1,2"])
    main(["arithmetic", checkpoint, "--add", "class:3", "--subtract", "class:2", "--to", "class:1"])
    for name in ("interpolate", "traverse", "arithmetic"):
        assert (folder / "figures" / f"{name}.png").stat().st_size > 8_000
    loaded = zoo.load(checkpoint)
    assert loaded.path_types == ("linear", "spherical", "isometric")
