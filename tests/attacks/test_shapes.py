"""Attacks on point clouds, voxel grids, meshes and latent codes."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn

from callbacks import AdversarialTraining
from datamodules import Isometric, Shapes
from tests.attacks.conftest import accuracy
from tests.functional.test_spectral import icosphere
from zoo import MeshClassifier, PointClassifier
from zoo.attacks import (
    PGD,
    Attack,
    CarliniWagner,
    LatentPGD,
    MeshAttack,
    PointDropping,
    Restarts,
    SmoothPGD,
    Targeted,
    UniversalSpectralAttack,
    VoxelFlips,
    evaluate_robustness,
)
from zoo.attacks.goals import Goal
from zoo.attacks.greedy import top_positive
from zoo.attacks.meshes import smooth_bases
from zoo.attacks.wrappers import with_new_seed
from zoo.errors import InputError
from zoo.functional.meshes import edge_lengths, mesh_edges
from zoo.functional.norm_balls import delta_norm
from zoo.functional.spectral import mesh_eigenvalues, spectral_operators

# -- point clouds ----------------------------------------------------------------------------------


@pytest.fixture
def clouds() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = PointClassifier(3, width=8).double()
    x = torch.randn(6, 40, 3, dtype=torch.float64)
    model.train()
    for _ in range(5):  # running statistics of the batch norms
        model.logits(x)
    model.eval()
    return model, x, model.logits(x).argmax(1)


def test_dropped_points_have_no_influence(clouds: tuple[nn.Module, Tensor, Tensor]) -> None:
    """A network with max pooling gives equal scores with duplicates and without the points."""
    model, x, y = clouds
    x_adv = PointDropping(eps=0.3)(model, x, y)
    assert x_adv.shape == x.shape
    for before, after in zip(x, x_adv, strict=True):
        kept = after.unique(dim=0)
        assert 28 <= len(kept) < 40
        assert {tuple(p) for p in kept.tolist()} <= {tuple(p) for p in before.tolist()}
        without = model.logits(kept[None])  # type: ignore[operator]
        torch.testing.assert_close(model.logits(after[None]), without, rtol=0, atol=1e-9)  # type: ignore[operator]


def test_the_decisive_point_is_dropped_first() -> None:
    def classify_radius(x: Tensor) -> Tensor:
        radius = x.norm(dim=2).amax(1)
        return torch.stack([radius, torch.full_like(radius, 2.0)], 1)

    torch.manual_seed(0)
    x = nn.functional.normalize(torch.randn(5, 30, 3), dim=2)
    x[torch.arange(5), torch.arange(5) * 4] *= 3  # one outlier in each cloud
    y = torch.zeros(5, dtype=torch.long)
    x_adv = PointDropping(eps=1 / 30)(classify_radius, x, y)
    assert accuracy(classify_radius, x, y) == 1
    assert accuracy(classify_radius, x_adv, y) == 0
    moved = (x_adv != x).any(2)
    assert moved.sum() == 5
    assert moved[torch.arange(5), torch.arange(5) * 4].all()


@pytest.mark.parametrize("norm", ["linf", "point"])
def test_minimum_norm_of_point_clouds_at_a_linear_boundary(norm: str) -> None:
    """The smallest norm is the margin divided by the dual norm of the weights."""
    torch.manual_seed(0)
    w = torch.randn(12, 3, dtype=torch.float64)
    x = torch.randn(4, 12, 3, dtype=torch.float64)
    margin = (x * w).flatten(1).sum(1)

    def model(x: Tensor) -> Tensor:
        score = (x * w).flatten(1).sum(1)
        return torch.stack([score, torch.zeros_like(score)], 1)

    y = model(x).argmax(1)
    attack = CarliniWagner(norm=norm, bounds=None, steps=500, search_steps=8, lr=0.005)
    x_adv = attack(model, x, y)
    smallest = margin.abs() / (w.abs().sum() if norm == "linf" else w.norm(dim=1).sum())
    assert (model(x_adv).argmax(1) != y).all()
    ratio = delta_norm(x_adv - x, norm) / smallest
    assert ratio.min() > 1 - 1e-6
    assert ratio.max() < 1.25


def test_point_clouds_stay_within_their_norm() -> None:
    """The norm linf bounds each coordinate, and point each point; values are unbounded."""
    torch.manual_seed(0)
    model = PointClassifier(num_classes=4).eval()
    x = 2 * torch.randn(6, 64, 3)
    y = model(x).argmax(1)
    for norm in ("linf", "point"):
        attack = PGD(eps=0.2, norm=norm, bounds=None, steps=10)
        x_adv = attack(model, x, y)
        delta = x_adv - x
        largest = delta.abs().amax() if norm == "linf" else delta.norm(dim=-1).amax()
        assert 0.1 < largest <= 0.2 + 1e-6
        assert Goal(y).loss(model(x_adv), "margin").mean() > Goal(y).loss(model(x), "margin").mean()


# -- voxels ----------------------------------------------------------------------------------------


def test_voxel_flips_are_optimal_for_a_linear_model() -> None:
    torch.manual_seed(0)
    w = torch.randn(2, 125, dtype=torch.float64)
    x = (torch.rand(6, 1, 5, 5, 5) < 0.4).double()
    y = torch.arange(6) % 2
    # a margin so large that no sample is misclassified before all flips are spent
    bias = 1e3 * nn.functional.one_hot(y, 2)

    def model(x: Tensor) -> Tensor:
        return x.flatten(1) @ w.T + bias

    x_adv = VoxelFlips(eps=0.2, rounds=3)(model, x, y)
    assert set(x_adv.unique().tolist()) == {0.0, 1.0}
    gain = w[1 - y] - w[y]  # contribution of an occupied voxel to the adversarial margin
    for i in range(6):
        count = int(0.2 * x[i].sum())
        gains = ((1 - 2 * x[i].flatten()) * gain[i]).sort(descending=True).values
        flipped = (x_adv[i] != x[i]).flatten()
        assert flipped.sum() == count
        change = ((x_adv[i] - x[i]).flatten() * gain[i]).sum()
        torch.testing.assert_close(change, gains[:count].sum())


def test_top_positive_values_of_each_row() -> None:
    values = torch.tensor([[3.0, -1.0, 2.0, 1.0], [-1.0, -2.0, -3.0, 5.0]])
    assert top_positive(values, torch.tensor([2, 3])).tolist() == [
        [True, False, True, False],
        [False, False, False, True],
    ]


@pytest.mark.parametrize("attack", [VoxelFlips(eps=0.0), PointDropping(eps=0.0)])
def test_zero_eps_changes_nothing(attack: Attack) -> None:
    x = (torch.rand(3, 8, 3) < 0.5).float()
    y = torch.zeros(3, dtype=torch.long)
    assert torch.equal(attack(lambda x: x.sum(2)[:, :2], x, y), x)


# -- latent codes ----------------------------------------------------------------------------------


class LinearAutoencoder(nn.Module):
    """A linear decoder with orthonormal columns, and its transpose as the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.linalg.qr(torch.randn(20, 3, dtype=torch.float64))[0])

    def encode(self, x: Tensor) -> Tensor:
        return x @ self.basis

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.basis.T


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_latent_perturbations_are_in_the_range_of_the_decoder(norm: str) -> None:
    torch.manual_seed(0)
    autoencoder, model = LinearAutoencoder(), nn.Linear(20, 4).double()
    x = torch.randn(8, 20, dtype=torch.float64)
    y = model(x).argmax(1)
    attack = LatentPGD(eps=0.5, autoencoder=autoencoder, norm=norm, bounds=None, early_stop=False)
    x_adv = attack(model, x, y)
    delta = x_adv - x
    torch.testing.assert_close(
        delta, autoencoder.decode(autoencoder.encode(delta)), rtol=0, atol=1e-12
    )
    size = delta_norm(autoencoder.encode(delta), norm)
    assert (size <= 0.5 + 1e-9).all()
    assert size.max() > 0.49
    assert torch.equal(attack.with_eps(0.0)(model, x, y), x)
    assert all(p.requires_grad and p.grad is None for p in autoencoder.parameters())
    torch.testing.assert_close(attack(model, x[:1], y[:1]), x_adv[:1], rtol=0, atol=1e-9)
    bounded = LatentPGD(eps=0.5, autoencoder=autoencoder, norm=norm, bounds=(-2.5, 2.5))
    assert bounded(model, x.clamp(-2.5, 2.5), y).abs().max() <= 2.5


# -- meshes ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shapes() -> tuple[Any, Tensor, Tensor, Tensor]:
    """Elongated and round shapes, and a model that distinguishes them: model, x, y, faces."""
    sphere, faces = icosphere(2)
    torch.manual_seed(0)
    scales = 0.97 + 0.06 * torch.rand(12, 1, 3, dtype=torch.float64)
    y = torch.arange(12) % 2
    scales[y == 1, :, 2] *= 1.5
    x = sphere * scales * (1 + 0.02 * torch.randn(12, len(sphere), 1, dtype=torch.float64))

    def model(x: Tensor) -> Tensor:
        height = 20 * (x[:, :, 2].square().mean(1) - 0.55)
        return torch.stack([-height, height], 1)

    assert torch.equal(model(x).argmax(1), y)
    return model, x, y, faces


def test_smooth_displacements(shapes: tuple[Any, Tensor, Tensor, Tensor]) -> None:
    model, x, y, faces = shapes
    options: dict[str, Any] = {"eps": 0.05, "steps": 10, "early_stop": False}
    smooth = SmoothPGD(faces=faces, num_eigenfunctions=12, **options)(model, x, y)
    rough = PGD(norm="point", bounds=None, **options)(model, x, y)
    for x_adv in (smooth, rough):
        size = delta_norm(x_adv - x, "point")
        assert (size <= 0.05 + 1e-9).all()
        assert size.min() > 0.045
    basis = smooth_bases(x, faces, 12)
    for delta, phi in zip(smooth - x, basis, strict=True):
        projection = phi @ torch.linalg.lstsq(phi, delta).solution
        torch.testing.assert_close(projection, delta, rtol=0, atol=1e-9)
    edges = mesh_edges(faces)

    def edge_distortion(x_adv: Tensor) -> Tensor:
        return (edge_lengths(x_adv, edges) / edge_lengths(x, edges) - 1).abs().mean()

    assert edge_distortion(smooth) < edge_distortion(rough)
    single = SmoothPGD(faces=faces, num_eigenfunctions=12, **options)(model, x[3:4], y[3:4])
    torch.testing.assert_close(single, smooth[3:4], rtol=0, atol=1e-9)


def test_universal_spectral_attack(shapes: tuple[Any, Tensor, Tensor, Tensor]) -> None:
    model, x, y, faces = shapes
    universal = UniversalSpectralAttack(
        faces=faces, num_eigenvalues=8, num_eigenfunctions=8, steps=80, spectrum_weight=100.0,
        confidence=2.0,
    )  # fmt: skip
    long_shapes = x[y == 1]
    attack = universal.fit(model, long_shapes[:4], torch.ones(4, dtype=torch.long))
    assert model(attack.training_shapes).argmax(1).tolist() == [0, 0, 0, 0]
    assert attack.shift.abs().max() > 0.05
    unseen, labels = long_shapes[4:], torch.ones(2, dtype=torch.long)
    x_adv = attack(model, unseen, labels)
    assert model(x_adv).argmax(1).tolist() == [0, 0]

    def spectra(shapes: Tensor) -> Tensor:
        return torch.stack([mesh_eigenvalues(s, faces, 9)[1:] for s in shapes])

    error = spectra(x_adv) / spectra(unseen) - 1 - attack.shift
    assert error.square().mean() < 0.05 * attack.shift.square().mean()
    with pytest.raises(InputError, match="UniversalSpectralAttack must be fitted first"):
        universal(model, x, y)
    with pytest.raises(InputError, match="needs at least one shape to learn from"):
        universal.fit(model, x[:0], y[:0])


@pytest.fixture(scope="module")
def sheets() -> Any:
    data = Isometric(num_samples=16, val_size=0, batch_size=4, eigenpairs=16, subdivisions=1)
    return next(iter(data.train_dataloader()))


def test_meshes_of_any_connectivity(sheets: Any) -> None:
    torch.manual_seed(0)
    model = MeshClassifier(8, input_features="xyz", width=16, blocks=1)
    model.train()
    before = {name: value.clone() for name, value in sheets.to_dict().items() if name != "ptr"}
    y = model.logits(sheets).argmax(1)
    attack = MeshAttack(PGD(eps=0.05, norm="point", bounds=None, steps=5, early_stop=False))
    x_adv = attack(model, sheets, y)
    assert model.training
    for name, value in before.items():
        assert torch.equal(sheets[name], value), name  # the data is left unchanged
    moved = (x_adv.pos - sheets.pos).norm(dim=1)
    assert 0.04 < moved.max() <= 0.05 + 1e-6
    third = x_adv.to_data_list()[2]
    expected = spectral_operators(third.pos, third.face.T, 16).data_attributes()
    for name, value in expected.items():
        torch.testing.assert_close(third[name], value)
    single = type(sheets).from_data_list([sheets.to_data_list()[2]])
    torch.testing.assert_close(attack(model, single, y[2:3]).pos, third.pos, rtol=0, atol=1e-6)
    with torch.inference_mode():
        inferred = attack(model, sheets, y)
    torch.testing.assert_close(inferred.pos, x_adv.pos, rtol=0, atol=1e-6)
    assert torch.equal(attack.with_eps(0.0)(model, sheets, y).pos, sheets.pos)
    inner = Restarts(Targeted(SmoothPGD(eps=0.05, num_eigenfunctions=6, steps=3), "next"), 2)
    smooth = MeshAttack(inner)(model, sheets, y)
    assert 0 < (smooth.pos - sheets.pos).norm(dim=1).max() <= 0.05 + 1e-6


def test_robustness_of_a_mesh_classifier(sheets: Any) -> None:
    torch.manual_seed(0)
    model = MeshClassifier(8, input_features="xyz", width=16, blocks=1)
    batch = sheets.clone()
    batch.y = model.eval().logits(batch).argmax(1)
    batch.y[0] = (batch.y[0] + 1) % 8  # misclassified
    attack = MeshAttack(PGD(eps=0.0, norm="point", bounds=None, steps=10))
    report = evaluate_robustness(model, [batch], attack, [0.0, 1.0])
    assert (report.num_samples, report.clean_accuracy) == (4, 0.75)
    assert report.robust_accuracy["PGD"][0] == 0.75
    assert report.robust_accuracy["PGD"][1] < 0.75


def test_restarts_and_targets_of_wrapped_attacks() -> None:
    attack = MeshAttack(Targeted(PGD(eps=0.1), "next"))
    again: Any = with_new_seed(attack, 3)
    assert again.attack.attack.seed == 3
    assert again.attack.target == "next"
    assert again.name == "PGD→next"


def test_bad_input(sheets: Any, shapes: tuple[Any, Tensor, Tensor, Tensor]) -> None:
    model, x, y, faces = shapes
    attack = MeshAttack(PGD(eps=0.05, norm="point", bounds=None))
    with pytest.raises(InputError, match="does not use the coordinates of vertices"):
        attack(MeshClassifier(8, width=8, blocks=1), sheets)
    bare = sheets.clone()
    del bare.face
    with pytest.raises(InputError, match="needs meshes with faces"):
        attack(MeshClassifier(8, input_features="xyz", width=8, blocks=1), bare)
    bare = sheets.clone()
    del bare.y
    with pytest.raises(InputError, match="the meshes have no labels"):
        attack(MeshClassifier(8, input_features="xyz", width=8, blocks=1), bare)
    with pytest.raises(InputError, match="needs one label per mesh, got 7 labels for 4"):
        attack(MeshClassifier(8, input_features="xyz", width=8, blocks=1), sheets, torch.zeros(7))
    with pytest.raises(InputError, match=r"PGD takes batches \(x, y\).*use MeshAttack\(attack\)"):
        PGD(eps=0.1).perturb_batch(MeshClassifier(8, width=8, blocks=1), sheets)
    with pytest.raises(InputError, match="takes PyG batches, got a tensor: call the wrapped PGD"):
        attack(model, x, y)
    broken = x.clone()
    broken[2, 5, 0] = torch.nan
    with pytest.raises(InputError, match="SmoothPGD: shape 2 has a coordinate that is not finite"):
        SmoothPGD(eps=0.1, faces=faces)(model, broken, y)
    with pytest.raises(InputError, match="SmoothPGD needs the faces"):
        SmoothPGD(eps=0.1)(model, x, y)
    with pytest.raises(InputError, match=r"needs vertices \(B, V, 3\) for faces up to vertex 161"):
        SmoothPGD(eps=0.1, faces=faces)(model, x[:, :100], y)
    with pytest.raises(InputError, match="leave norm and bounds out"):
        SmoothPGD(eps=0.1, faces=faces, norm="l2")
    with pytest.raises(InputError, match=r"needs voxels that are 0 or 1, got 0\.5"):
        VoxelFlips(eps=0.1)(model, torch.full((2, 1, 4, 4, 4), 0.5), y[:2])
    with pytest.raises(InputError, match=r"PointDropping needs point clouds \(B, N, 3\)"):
        PointDropping(eps=0.1)(model, torch.zeros(2, 5), y[:2])
    with pytest.raises(InputError, match="eps must be below 1"):
        PointDropping(eps=1.0)(model, x, y)
    with pytest.raises(InputError, match="eps must not be negative"):
        VoxelFlips(eps=-0.1)


# -- training --------------------------------------------------------------------------------------

OPTIONS: dict[str, Any] = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "accelerator": "cpu",
}  # fmt: skip


def test_adversarial_training_on_point_clouds() -> None:
    """Training on adversarial point clouds increases the accuracy under attack."""

    def robust(*against: AdversarialTraining) -> float:
        torch.manual_seed(0)
        data = Shapes(num_samples=160, num_points=64, batch_size=16)
        model = PointClassifier(data.num_classes, width=8, lr=5e-3)
        trainer = L.Trainer(max_epochs=6, callbacks=list(against), limit_val_batches=0, **OPTIONS)
        trainer.fit(model, data)
        x, y = data.evaluation_samples("test")
        return accuracy(model.eval().logits, strong(model, x, y), y)

    strong = PGD(eps=0.15, norm="point", bounds=None, steps=10)
    weak = PGD(eps=0.15, norm="point", bounds=None, steps=3, early_stop=False)
    assert robust(AdversarialTraining(weak)) > robust() + 0.1


def test_adversarial_training_on_meshes() -> None:
    torch.manual_seed(0)
    data = Isometric(num_samples=32, batch_size=4, eigenpairs=12, subdivisions=1, val_size=8)
    model = MeshClassifier(8, input_features="xyz", width=8, blocks=1)
    attack = MeshAttack(PGD(eps=0.02, norm="point", bounds=None, steps=2))
    trainer = L.Trainer(max_epochs=1, callbacks=[AdversarialTraining(attack)], **OPTIONS)
    trainer.fit(model, data)
    assert 0 <= trainer.callback_metrics["val/robust_accuracy"] <= 1
