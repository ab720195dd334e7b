"""VQ-VAE: codebook, prior and loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import lightning.pytorch as L
import pytest
import torch

from datamodules import Digits
from zoo import VQVAE
from zoo.networks.pixelcnn import PixelCNN
from zoo.networks.vector_quantizer import VectorQuantizer

Trainer = Callable[..., L.Trainer]


# -- codebook ------------------------------------------------------------------------------------


def test_quantization_selects_the_nearest_vector() -> None:
    book = VectorQuantizer(7, 3).double().eval()
    h = torch.randn(4, 5, 5, 3).double()
    quantized, indices = book(h)
    expected = torch.cdist(h.view(-1, 3), book.vectors).argmin(1).view(4, 5, 5)
    assert torch.equal(indices, expected)
    torch.testing.assert_close(quantized, book.vectors[expected])


def test_codebook_vectors_are_averages_of_their_assigned_vectors() -> None:
    book = VectorQuantizer(2, 2, decay=0.9, revive_below=0.0).double()
    book.started.fill_(True)
    book.vectors.copy_(torch.tensor([[0.0, 0.0], [10.0, 10.0]]))
    book.sums.copy_(book.vectors)
    h = torch.tensor([[1.0, 0.0], [0.0, 1.0], [9.0, 11.0]]).double()
    book(h)
    counts = torch.tensor([0.9 + 0.1 * 2, 0.9 + 0.1 * 1]).double()
    sums = torch.tensor([[0.1, 0.1], [9.0 + 0.9, 9.0 + 1.1]]).double()
    torch.testing.assert_close(book.counts, counts)
    torch.testing.assert_close(book.vectors, sums / counts[:, None])
    before = book.vectors.clone()
    book.eval()(h)
    assert torch.equal(before, book.vectors)


def test_dead_vectors_are_revived_from_the_batch() -> None:
    book = VectorQuantizer(3, 2, decay=0.5, revive_below=0.5)
    book.started.fill_(True)
    far = torch.tensor([[0.0, 0.0], [100.0, 100.0], [200.0, 200.0]])
    book.vectors.copy_(far)
    book.sums.copy_(far)
    h = torch.randn(50, 2)
    book(h)  # counts of the two far vectors: 0.5, not yet below the limit
    book(h)  # 0.25: revived
    assert (book.vectors.abs() < 10).all()
    assert all(any(torch.equal(v, row) for row in h) for v in book.vectors[1:])


def test_the_first_batch_initializes_the_vectors_unless_a_checkpoint_did() -> None:
    book = VectorQuantizer(4, 2, decay=1.0, revive_below=0.0)
    h = 50 + torch.randn(30, 2)
    book(h)
    assert (book.vectors > 40).all()
    other = VectorQuantizer(4, 2, decay=1.0, revive_below=0.0)
    other.load_state_dict(book.state_dict())
    other(torch.randn(30, 2))
    torch.testing.assert_close(other.vectors, book.vectors)


# -- prior ---------------------------------------------------------------------------------------


def test_each_position_depends_on_earlier_positions_only() -> None:
    model = PixelCNN(5, 8, 2)
    indices = torch.randint(0, 5, (1, 4, 4))
    before = model(indices)
    for position in range(16):
        row, column = divmod(position, 4)
        changed = indices.clone()
        changed[0, row, column] = (changed[0, row, column] + 1) % 5
        after = model(changed).flatten(2)
        unchanged = position + 1
        assert torch.equal(after[..., :unchanged], before.flatten(2)[..., :unchanged])
        if position < 15:  # the next position does depend on it
            assert not torch.equal(after[..., unchanged], before.flatten(2)[..., unchanged])


def test_probabilities_of_all_grids_sum_to_one_and_match_the_samples() -> None:
    model = PixelCNN(2, 8, 1).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3)  # far from uniform
        grids = torch.tensor(list(itertools.product((0, 1), repeat=4))).view(16, 2, 2)
        p = model.log_prob(grids).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
    sampled = model.sample(20_000, (2, 2), torch.Generator().manual_seed(0)).flatten(1)
    frequency = torch.bincount(sampled @ torch.tensor([8, 4, 2, 1]), minlength=16) / 20_000
    error = (p * (1 - p) / 20_000).sqrt()
    assert ((frequency - p).abs() < 4.5 * error + 1e-4).all()


# -- the model -----------------------------------------------------------------------------------


def make(**options: object) -> VQVAE:
    settings = {"num_codes": 8, "code_dim": 4, "hidden_dims": (8, 8), "prior_width": 8}
    return VQVAE((1, 8, 8), **(settings | options))  # type: ignore[arg-type]


def test_the_gradient_passes_straight_through_the_quantization() -> None:
    """The encoder receives the gradient of the reconstruction with respect to its quantization."""
    model = make().double().eval()
    x = torch.rand(6, 1, 8, 8).double()
    weight = model.encoder[-1].weight
    (found,) = torch.autograd.grad(model.step((x, None))["reconstruction"], weight)
    h = model._encode_grid(x)
    vectors = model.codebook(h)[0].detach().requires_grad_()
    reconstruction = -model.log_prob(x, model._decode_grid(vectors)).mean()
    (gradient,) = torch.autograd.grad(reconstruction, vectors)
    (expected,) = torch.autograd.grad(h, weight, gradient)
    torch.testing.assert_close(found, expected)
    assert found.abs().max() > 0


def test_the_parts_of_the_loss() -> None:
    model = make(commitment_weight=0.5).double().eval()
    x = torch.rand(6, 1, 8, 8).double()
    parts = model.step((x, None))
    torch.testing.assert_close(parts["neg_elbo"], parts["reconstruction"] + parts["prior_nll"])
    torch.testing.assert_close(parts["loss"], parts["neg_elbo"] + 0.5 * parts["commitment"])
    h = model._encode_grid(x)
    quantized, indices = model.codebook(h)
    commitment = (h - quantized).square().sum() / 6
    torch.testing.assert_close(parts["commitment"], commitment)
    torch.testing.assert_close(parts["prior_nll"], -model.prior.log_prob(indices).mean())
    parts["prior_nll"].backward()  # reaches the prior only
    assert all(p.grad is None for p in model.encoder.parameters())
    assert 1 <= parts["codes_used"] <= 8


def test_the_commitment_moves_the_encoder_towards_its_codes() -> None:
    """The gradient of mean_b ‖h − e‖² with respect to h is 2 (h − e) / B, and none reaches e."""
    model = make().double().eval()
    x, weight = torch.rand(6, 1, 8, 8).double(), model.encoder[-1].weight
    (found,) = torch.autograd.grad(model.step((x, None))["commitment"], weight)
    h = model._encode_grid(x)
    nearest = torch.cdist(h.flatten(0, 2), model.codebook.vectors).argmin(1)
    vectors = model.codebook.vectors[nearest].view(h.shape)
    (expected,) = torch.autograd.grad(h, weight, 2 * (h - vectors).detach() / 6)
    torch.testing.assert_close(found, expected)
    assert found.abs().max() > 0


@pytest.mark.parametrize("binarization", ["threshold", "stochastic"])
def test_bounds_are_those_of_binarized_pixels_and_errors_those_of_gray_ones(
    binarization: str,
) -> None:
    model = make(binarization=binarization).double().eval()
    gray = torch.rand(6, 1, 8, 8).double()
    with torch.no_grad():  # so that the images have different codes
        model.codebook.vectors.copy_(model._encode_grid(gray).flatten(0, 2)[:8])
    with model.seeded(2):
        parts = model.step((gray, None))
    x = gray.round()
    if binarization == "stochastic":
        x = torch.bernoulli(gray, generator=torch.Generator().manual_seed(2))
    h = model.encoder(x).movedim(1, -1)  # (B, h, w, D)
    indices = torch.cdist(h.flatten(0, 2), model.codebook.vectors).argmin(1)
    p = model.decoder(model.codebook.vectors[indices].view(h.shape).movedim(-1, 1)).sigmoid()
    reconstruction = -(x * p.log() + (1 - x) * (1 - p).log()).sum() / 6
    torch.testing.assert_close(parts["reconstruction"], reconstruction)
    log_prior = model.prior(indices.view(h.shape[:-1])).log_softmax(1).movedim(1, -1)
    prior_nll = -log_prior.flatten(0, 2)[range(len(indices)), indices].sum() / 6
    torch.testing.assert_close(parts["prior_nll"], prior_nll)
    bits = (reconstruction + prior_nll) / (64 * math.log(2))
    torch.testing.assert_close(parts["bits_per_dim"], bits)
    error = (model.reconstruct(gray) - gray).square().mean()
    torch.testing.assert_close(parts["mse"], error)
    frequency = torch.bincount(indices).double() / len(indices)
    frequency = frequency[frequency > 0]
    used = math.exp(-float((frequency * frequency.log()).sum()))
    assert float(parts["codes_used"]) == pytest.approx(used)
    assert used > 1.1


def test_samples_come_from_the_prior() -> None:
    """The prior is certain of code 3 everywhere."""
    model = make(ema_decay=0.7).eval()
    assert model.codebook.decay == 0.7
    with torch.no_grad():
        model.prior.head[-1].weight.zero_()
        model.prior.head[-1].bias.copy_(100.0 * (torch.arange(8) == 3))
    expected = model.codebook.vectors[3].expand(2, 4, 4)
    assert torch.equal(model.sample_latent(2).view(2, 4, 4), expected)


def test_encode_and_reconstruct_do_not_update_the_codebook_in_training_mode() -> None:
    model, x = make().train(), torch.rand(5, 1, 8, 8)
    before = {name: value.clone() for name, value in model.codebook.state_dict().items()}
    z = model.encode(x)
    assert torch.equal(z, model.encode(x))
    assert torch.equal(model.reconstruct(x), model.decode(z))
    for name, value in model.codebook.state_dict().items():
        assert torch.equal(value, before[name])


def test_codes_are_grids_of_codebook_vectors() -> None:
    model = make().eval()
    x = torch.rand(5, 1, 8, 8)
    z = model.encode(x)
    assert z.shape == (5, 2 * 2 * 4)
    vectors = model.codebook.vectors[model.codebook_indices(x)]
    torch.testing.assert_close(z.view(5, 2, 2, 4), vectors)
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(3).shape == (3, 1, 8, 8)
    assert model.interpolate(x[:1], x[1:2], 4).shape == (4, 1, 1, 8, 8)


def test_training_on_digits_uses_many_codes(trainer: Trainer) -> None:
    model = make(num_codes=32, hidden_dims=(32, 32), lr=3e-3, schedule="one_cycle")
    data = Digits(batch_size=64)
    trainer(max_epochs=60).fit(model, data)
    (metrics,) = trainer().test(model, data, verbose=False)
    used = metrics["test/codes_used"]
    assert used > 12
    # four indices, each one of 32; the error of the mean image is 0.09
    assert metrics["test/mse"] < 0.035
    # a prior of independent positions, fitted to the frequencies, costs four times their entropy
    assert metrics["test/prior_nll"] < 4 * math.log(used) - 0.2


def test_any_image_size_and_number_of_gray_levels() -> None:
    model = VQVAE((3, 17, 30), 8, 4, (4, 8), likelihood="categorical", levels=4)
    x = torch.randint(0, 4, (2, 3, 17, 30)) / 3
    assert model.step((x, None))["loss"].isfinite()
    assert model.sample(2).shape == x.shape


def test_invalid_arguments() -> None:
    with pytest.raises(ValueError, match="num_codes must be at least 2"):
        VQVAE((1, 8, 8), 1)
    with pytest.raises(ValueError, match="code_dim must be at least 1, got 0"):
        VQVAE((1, 8, 8), code_dim=0)
    with pytest.raises(TypeError, match="latent_dim"):
        VQVAE((1, 8, 8), latent_dim=3)
    with pytest.raises(ValueError, match="needs images"):
        VQVAE((8,))
    with pytest.raises(ValueError, match="do not fit images of 8×8"):
        VQVAE((1, 8, 8), hidden_dims=(4,) * 6)
