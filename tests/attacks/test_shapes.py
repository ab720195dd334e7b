"""Attacks on points, voxels, meshes, and through a decoder."""

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
    OnMeshes,
    PointDropping,
    Restarts,
    SmoothPGD,
    Targeted,
    UniversalSpectrum,
    VoxelFlips,
    evaluate_robustness,
)
from zoo.attacks.combine import with_new_seed
from zoo.attacks.greedy import highest
from zoo.attacks.meshes import smooth_bases
from zoo.errors import InputError
from zoo.functional.meshes import edge_lengths, mesh_edges
from zoo.functional.norm_balls import delta_norm
from zoo.functional.spectral import mesh_eigenvalues, spectral_operators

# -- points ----------------------------------------------------------------------------------------


@pytest.fixture
def clouds() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = PointClassifier(3, width=8).double()
    x = torch.randn(6, 40, 3, dtype=torch.float64)
    model.train()
    for _ in range(5):  # statistics of the batch norms
        model.logits(x)
    model.eval()
    return model, x, model.logits(x).argmax(1)


def test_a_dropped_point_is_gone(clouds: tuple[nn.Module, Tensor, Tensor]) -> None:
    """To a network that takes maxima, a cloud with doubles is the cloud without the points."""
    model, x, y = clouds
    found = PointDropping(eps=0.3)(model, x, y)
    assert found.shape == x.shape
    for before, after in zip(x, found, strict=True):
        kept = after.unique(dim=0)
        assert 28 <= len(kept) < 40
        assert {tuple(p) for p in kept.tolist()} <= {tuple(p) for p in before.tolist()}
        without = model.logits(kept[None])  # type: ignore[operator]
        torch.testing.assert_close(model.logits(after[None]), without, rtol=0, atol=1e-9)  # type: ignore[operator]


def test_the_point_that_decides_goes_first() -> None:
    def farthest(x: Tensor) -> Tensor:
        reach = x.norm(dim=2).amax(1)
        return torch.stack([reach, torch.full_like(reach, 2.0)], 1)

    torch.manual_seed(0)
    x = nn.functional.normalize(torch.randn(5, 30, 3), dim=2)
    x[torch.arange(5), torch.arange(5) * 4] *= 3  # one point of each cloud is far out
    y = torch.zeros(5, dtype=torch.long)
    found = PointDropping(eps=1 / 30)(farthest, x, y)
    assert accuracy(farthest, x, y) == 1
    assert accuracy(farthest, found, y) == 0
    moved = (found != x).any(2)
    assert moved.sum() == 5
    assert moved[torch.arange(5), torch.arange(5) * 4].all()


@pytest.mark.parametrize("norm", ["linf", "point"])
def test_the_nearest_cloud_across_a_linear_boundary(norm: str) -> None:
    """The least size is the margin over the dual norm of the weights."""
    torch.manual_seed(0)
    w = torch.randn(12, 3, dtype=torch.float64)
    x = torch.randn(4, 12, 3, dtype=torch.float64)
    margin = (x * w).flatten(1).sum(1)

    def model(x: Tensor) -> Tensor:
        score = (x * w).flatten(1).sum(1)
        return torch.stack([score, torch.zeros_like(score)], 1)

    y = model(x).argmax(1)
    attack = CarliniWagner(norm=norm, bounds=None, steps=500, search_steps=8, lr=0.005)
    found = attack(model, x, y)
    least = margin.abs() / (w.abs().sum() if norm == "linf" else w.norm(dim=1).sum())
    assert (model(found).argmax(1) != y).all()
    ratio = delta_norm(found - x, norm) / least
    assert ratio.min() > 1 - 1e-6
    assert ratio.max() < 1.25


# -- voxels ----------------------------------------------------------------------------------------


def test_flips_of_a_linear_model_are_the_best_there_are() -> None:
    torch.manual_seed(0)
    w = torch.randn(2, 125, dtype=torch.float64)
    x = (torch.rand(6, 1, 5, 5, 5) < 0.4).double()
    y = torch.arange(6) % 2
    # so sure of the true class that no flip is wasted on a sample that is broken
    bias = 1e3 * nn.functional.one_hot(y, 2)

    def model(x: Tensor) -> Tensor:
        return x.flatten(1) @ w.T + bias

    found = VoxelFlips(eps=0.2, rounds=3)(model, x, y)
    assert set(found.unique().tolist()) == {0.0, 1.0}
    toward = w[1 - y] - w[y]  # what a full voxel adds to the wrong margin
    for i in range(6):
        count = int(0.2 * x[i].sum())
        gains = ((1 - 2 * x[i].flatten()) * toward[i]).sort(descending=True).values
        flipped = (found[i] != x[i]).flatten()
        assert flipped.sum() == count
        change = ((found[i] - x[i]).flatten() * toward[i]).sum()
        torch.testing.assert_close(change, gains[:count].sum())


def test_the_highest_of_each_row() -> None:
    values = torch.tensor([[3.0, -1.0, 2.0, 1.0], [-1.0, -2.0, -3.0, 5.0]])
    assert highest(values, torch.tensor([2, 3])).tolist() == [
        [True, False, True, False],
        [False, False, False, True],
    ]


@pytest.mark.parametrize("attack", [VoxelFlips(eps=0.0), PointDropping(eps=0.0)])
def test_no_budget_no_change(attack: Attack) -> None:
    x = (torch.rand(3, 8, 3) < 0.5).float()
    y = torch.zeros(3, dtype=torch.long)
    assert torch.equal(attack(lambda x: x.sum(2)[:, :2], x, y), x)


# -- through a decoder -----------------------------------------------------------------------------


class Lines(nn.Module):
    """A linear decoder, and the encoder that inverts it."""

    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.linalg.qr(torch.randn(20, 3, dtype=torch.float64))[0])

    def encode(self, x: Tensor) -> Tensor:
        return x @ self.basis

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.basis.T


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_changes_are_those_of_the_decoder(norm: str) -> None:
    torch.manual_seed(0)
    codes, model = Lines(), nn.Linear(20, 4).double()
    x = torch.randn(8, 20, dtype=torch.float64)
    y = model(x).argmax(1)
    attack = LatentPGD(eps=0.5, codes=codes, norm=norm, bounds=None, early_stop=False)
    found = attack(model, x, y)
    delta = found - x
    torch.testing.assert_close(delta, codes.decode(codes.encode(delta)), rtol=0, atol=1e-12)
    length = delta_norm(codes.encode(delta), norm)
    assert (length <= 0.5 + 1e-9).all()
    assert length.max() > 0.49
    assert torch.equal(attack.with_eps(0.0)(model, x, y), x)
    assert all(p.requires_grad and p.grad is None for p in codes.parameters())
    torch.testing.assert_close(attack(model, x[:1], y[:1]), found[:1], rtol=0, atol=1e-9)
    bounded = LatentPGD(eps=0.5, codes=codes, norm=norm, bounds=(-2.5, 2.5))
    assert bounded(model, x.clamp(-2.5, 2.5), y).abs().max() <= 2.5


# -- meshes ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shapes() -> tuple[Any, Tensor, Tensor, Tensor]:
    """Long and round bodies that a linear model tells apart: model, x, y, faces."""
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
    smooth = SmoothPGD(faces=faces, band=12, **options)(model, x, y)
    rough = PGD(norm="point", bounds=None, **options)(model, x, y)
    for found in (smooth, rough):
        length = delta_norm(found - x, "point")
        assert (length <= 0.05 + 1e-9).all()
        assert length.min() > 0.045
    basis = smooth_bases(x, faces, 12)
    for delta, phi in zip(smooth - x, basis, strict=True):
        inside = phi @ torch.linalg.lstsq(phi, delta).solution
        torch.testing.assert_close(inside, delta, rtol=0, atol=1e-9)
    edges = mesh_edges(faces)

    def bend(found: Tensor) -> Tensor:
        return (edge_lengths(found, edges) / edge_lengths(x, edges) - 1).abs().mean()

    assert bend(smooth) < bend(rough)
    alone = SmoothPGD(faces=faces, band=12, **options)(model, x[3:4], y[3:4])
    torch.testing.assert_close(alone, smooth[3:4], rtol=0, atol=1e-9)


def test_one_shift_of_the_spectrum_for_all(shapes: tuple[Any, Tensor, Tensor, Tensor]) -> None:
    model, x, y, faces = shapes
    made = UniversalSpectrum(
        faces=faces, eigenvalues=8, band=8, steps=80, weight=100.0, confidence=2.0
    )
    round_ones, long_ones = x[y == 0], x[y == 1]
    attack = made.fit(model, long_ones[:4], torch.ones(4, dtype=torch.long))
    assert model(attack.learned).argmax(1).tolist() == [0, 0, 0, 0]
    assert attack.shift.abs().max() > 0.05
    unseen, labels = long_ones[4:], torch.ones(2, dtype=torch.long)
    found = attack(model, unseen, labels)
    assert model(found).argmax(1).tolist() == [0, 0]

    def spectra(shapes: Tensor) -> Tensor:
        return torch.stack([mesh_eigenvalues(s, faces, 9)[1:] for s in shapes])

    reached = spectra(found) / spectra(unseen) - 1 - attack.shift
    assert reached.square().mean() < 0.05 * attack.shift.square().mean()
    with pytest.raises(InputError, match="learned on many shapes first"):
        made(model, x, y)
    with pytest.raises(InputError, match="there is no shape to learn from"):
        made.fit(model, round_ones[:0], y[:0])


@pytest.fixture(scope="module")
def sheets() -> Any:
    data = Isometric(samples=16, val_size=0, batch_size=4, eigenpairs=16, subdivisions=1)
    return next(iter(data.train_dataloader()))


def test_meshes_of_any_connectivity(sheets: Any) -> None:
    torch.manual_seed(0)
    model = MeshClassifier(8, input_features="xyz", width=16, blocks=1)
    model.train()
    before = {name: value.clone() for name, value in sheets.to_dict().items() if name != "ptr"}
    y = model.logits(sheets).argmax(1)
    attack = OnMeshes(PGD(eps=0.05, norm="point", bounds=None, steps=5, early_stop=False))
    found = attack(model, sheets, y)
    assert model.training
    for name, value in before.items():
        assert torch.equal(sheets[name], value), name  # the data is as it was
    moved = (found.pos - sheets.pos).norm(dim=1)
    assert 0.04 < moved.max() <= 0.05 + 1e-6
    third = found.to_data_list()[2]
    wanted = spectral_operators(third.pos, third.face.T, 16).as_batch()
    for name, value in wanted.items():
        torch.testing.assert_close(third[name], value)
    alone = type(sheets).from_data_list([sheets.to_data_list()[2]])
    torch.testing.assert_close(attack(model, alone, y[2:3]).pos, third.pos, rtol=0, atol=1e-6)
    with torch.inference_mode():
        inside = attack(model, sheets, y)
    torch.testing.assert_close(inside.pos, found.pos, rtol=0, atol=1e-6)
    assert torch.equal(attack.with_eps(0.0)(model, sheets, y).pos, sheets.pos)
    inner = Restarts(Targeted(SmoothPGD(eps=0.05, band=6, steps=3), "next"), 2)
    smooth = OnMeshes(inner)(model, sheets, y)
    assert 0 < (smooth.pos - sheets.pos).norm(dim=1).max() <= 0.05 + 1e-6


def test_robustness_of_a_classifier_of_meshes(sheets: Any) -> None:
    torch.manual_seed(0)
    model = MeshClassifier(8, input_features="xyz", width=16, blocks=1)
    batch = sheets.clone()
    batch.y = model.eval().logits(batch).argmax(1)
    batch.y[0] = (batch.y[0] + 1) % 8  # which it is wrong about
    attack = OnMeshes(PGD(eps=0.0, norm="point", bounds=None, steps=10))
    found = evaluate_robustness(model, [batch], attack, [0.0, 1.0])
    assert (found.samples, found.clean) == (4, 0.75)
    assert found.accuracy["PGD"][0] == 0.75
    assert found.accuracy["PGD"][1] < 0.75


def test_restarts_and_targets_of_wrapped_attacks() -> None:
    attack = OnMeshes(Targeted(PGD(eps=0.1), "next"))
    again: Any = with_new_seed(attack, 3)
    assert again.attack.attack.seed == 3
    assert again.attack.target == "next"
    assert again.name == "PGD→next"


def test_bad_input(sheets: Any, shapes: tuple[Any, Tensor, Tensor, Tensor]) -> None:
    model, x, y, faces = shapes
    attack = OnMeshes(PGD(eps=0.05, norm="point", bounds=None))
    with pytest.raises(InputError, match="does not look at where the vertices are"):
        attack(MeshClassifier(8, width=8, blocks=1), sheets)
    bare = sheets.clone()
    del bare.face
    with pytest.raises(InputError, match="needs meshes with faces"):
        attack(MeshClassifier(8, input_features="xyz", width=8, blocks=1), bare)
    bare = sheets.clone()
    del bare.y
    with pytest.raises(InputError, match="the meshes have no labels"):
        attack(MeshClassifier(8, input_features="xyz", width=8, blocks=1), bare)
    with pytest.raises(InputError, match="attacks what each mesh is, the data has 7 labels for 4"):
        attack(MeshClassifier(8, input_features="xyz", width=8, blocks=1), sheets, torch.zeros(7))
    with pytest.raises(InputError, match=r"PGD takes batches \(x, y\).*choose OnMeshes\(attack\)"):
        PGD(eps=0.1).on_batch(MeshClassifier(8, width=8, blocks=1), sheets)
    with pytest.raises(InputError, match="OnMeshes takes PyG batches: on tensors call PGD itself"):
        attack(model, x, y)
    broken = x.clone()
    broken[2, 5, 0] = torch.nan
    with pytest.raises(InputError, match="SmoothPGD: shape 2 has a coordinate that is no number"):
        SmoothPGD(eps=0.1, faces=faces)(model, broken, y)
    with pytest.raises(InputError, match="SmoothPGD needs the faces"):
        SmoothPGD(eps=0.1)(model, x, y)
    with pytest.raises(InputError, match=r"needs vertices \(B, V, 3\) of faces up to vertex 161"):
        SmoothPGD(eps=0.1, faces=faces)(model, x[:, :100], y)
    with pytest.raises(ValueError, match="leave norm and bounds out"):
        SmoothPGD(eps=0.1, faces=faces, norm="l2")
    with pytest.raises(InputError, match=r"voxels are 0 or 1, one is 0\.5"):
        VoxelFlips(eps=0.1)(model, torch.full((2, 1, 4, 4, 4), 0.5), y[:2])
    with pytest.raises(InputError, match=r"PointDropping needs clouds \(B, N, 3\)"):
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


def test_training_against_moved_points() -> None:
    """What has trained on attacked clouds holds better under the attack."""

    def robust(*against: AdversarialTraining) -> float:
        torch.manual_seed(0)
        data = Shapes(samples=160, num_points=64, batch_size=16)
        model = PointClassifier(data.num_classes, width=8, lr=5e-3)
        trainer = L.Trainer(max_epochs=6, callbacks=list(against), limit_val_batches=0, **OPTIONS)
        trainer.fit(model, data)
        x, y = data.evaluation_samples("test")
        return accuracy(model.eval().logits, strong(model, x, y), y)

    strong = PGD(eps=0.15, norm="point", bounds=None, steps=10)
    weak = PGD(eps=0.15, norm="point", bounds=None, steps=3, early_stop=False)
    assert robust(AdversarialTraining(weak)) > robust() + 0.1


def test_training_against_moved_vertices() -> None:
    torch.manual_seed(0)
    data = Isometric(samples=32, batch_size=4, eigenpairs=12, subdivisions=1, val_size=8)
    model = MeshClassifier(8, input_features="xyz", width=8, blocks=1)
    attack = OnMeshes(PGD(eps=0.02, norm="point", bounds=None, steps=2))
    trainer = L.Trainer(max_epochs=1, callbacks=[AdversarialTraining(attack)], **OPTIONS)
    trainer.fit(model, data)
    assert 0 <= trainer.callback_metrics["val/robust_accuracy"] <= 1
