"""The claims of autoencoder-vs-vae, elbo, gan-divergence, attention, receptive-fields, invariance,
adversarial-geometry and pac."""

from __future__ import annotations

import math

import pytest
import torch

from zoo.functional.divergences import jensen_shannon
from zoo.studies import (
    adversarial_geometry,
    attention,
    autoencoder_vs_vae,
    elbo,
    gan_divergence,
    invariance,
    pac,
    receptive_fields,
)


def test_paths_of_pca_are_straight_and_even() -> None:
    result = autoencoder_vs_vae.run(epochs=15, pairs=40)
    assert result.straight < 1e-5
    torch.testing.assert_close(result.unevenness["PCA"], torch.ones(40), atol=1e-4, rtol=0)
    assert float(result.unevenness["autoencoder"].mean()) > 1.1
    y = result.labels
    first, second = autoencoder_vs_vae.two_classes(y, 40, 0)
    assert bool((y[first] != y[second]).all())
    middle = {
        n: float(d[:, 4].mean()) / result.reconstructed[n] for n, d in result.distances.items()
    }
    assert middle["autoencoder"] > middle["PCA"]


@pytest.mark.slow
def test_autoencoders_have_deeper_holes_than_vaes() -> None:
    """The defaults."""
    result = autoencoder_vs_vae.run()
    worst = {
        name: float(d.max(1).values.mean()) / result.reconstructed[name]
        for name, d in result.distances.items()
    }
    assert worst["autoencoder"] > worst["VAE"] > worst["PCA"]
    uneven = {name: float(u.mean()) for name, u in result.unevenness.items()}
    assert uneven["autoencoder"] > uneven["VAE"] > uneven["PCA"]


def test_the_gap_of_the_elbo_is_the_divergence_to_the_posterior() -> None:
    result = elbo.run(epochs=3, samples=100)
    assert result.identity < 1e-9
    assert result.exact_elbo == pytest.approx(result.log_likelihood, abs=1e-10)
    assert result.log_likelihood - result.elbo == pytest.approx(result.gap, abs=1e-6)
    gaps = result.log_likelihood - result.bounds
    assert float(gaps[0]) == pytest.approx(result.gap, abs=0.01)
    assert float(gaps[-1]) < 0.1 * float(gaps[0])
    assert bool((gaps.diff() < 1e-3).all())


def test_one_term_alone_spoils_the_other() -> None:
    result = elbo.run(epochs=12, samples=10)
    assert result.kl["KL alone"] < 1e-3
    assert result.kl["reconstruction alone"] > 3 * result.kl["both"] > 0
    assert result.reconstruction["KL alone"] > result.reconstruction["both"] + 5
    assert result.reconstruction["both"] > result.reconstruction["reconstruction alone"] - 0.5


def test_a_discriminator_measures_the_divergence() -> None:
    result = gan_divergence.run(steps=600)
    assert result.js[0] == pytest.approx(result.js[1], abs=3e-3)
    assert result.js[0] <= result.js[1] + 1e-6  # no discriminator sees more than the best
    seen = result.p + result.q > 0.05
    assert float((result.learned - result.best).abs()[seen].max()) < 0.06
    assert abs(float(result.generators[-1, 0]) - 1) < 0.4
    assert float(result.generators[0, 0]) == -4


@pytest.mark.parametrize("theta", [0.0, 0.3, 1.0, 1.7])
def test_distances_of_two_uniform_densities(theta: float) -> None:
    p, q = gan_divergence.uniform_pair(theta)
    assert float(jensen_shannon(p, q)) == pytest.approx(min(theta, 1) * math.log(2), abs=1e-9)
    assert float(gan_divergence.earth_mover(p, q)) == pytest.approx(theta, abs=1e-9)


def test_laws_of_attention() -> None:
    gaps = attention.laws(seed=2)
    broken = {name for name, gap in gaps.items() if gap > 1e-10}
    assert broken == {"… with positions added", "… with a causal mask", "not causal: the same"}


@pytest.mark.slow
def test_attention_reads_what_a_bag_of_words_cannot() -> None:
    """The defaults."""
    result = attention.run()
    assert result.accuracies["attention, two layers"] > 0.98
    assert abs(result.accuracies["bag of words"] - 0.5) < 0.07
    first, second = result.positive
    assert first > 0.9
    assert second < 0.1


def test_a_short_run_of_attention_is_complete() -> None:
    result = attention.run(epochs=1, samples=200)
    words = len(result.learned_words)
    assert [tuple(w.shape) for w in result.learned] == [(4, words, words)] * 2
    assert list(result.to_not)[5] == "6 not"
    assert sorted(attention.PAIR[0].split()) == sorted(attention.PAIR[1].split())


@pytest.mark.parametrize("kind", receptive_fields.KINDS)
def test_what_is_seen_is_what_theory_says(kind: str) -> None:
    torch.manual_seed(0)
    for depth in (1, 3):
        network = receptive_fields.make(kind, depth)
        seen = receptive_fields.field(receptive_fields.gradient(network, 40))
        assert seen == receptive_fields.theory(kind, depth, 40)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fields_of_image_stacks(count: int) -> None:
    torch.manual_seed(0)
    pixels = receptive_fields.image_gradient(count) > 0
    side = receptive_fields.image_field(count)
    assert int(pixels.any(0).sum()) == int(pixels.any(1).sum()) == side
    assert side == {1: 4, 2: 10, 3: 22}[count]


def test_gradients_of_recurrence_fade_and_those_of_attention_do_not() -> None:
    result = receptive_fields.run(length=32, depths=(1, 2), lengths=(8, 16))
    last = {kind: float(g[30] / g[0]) for kind, g in result.gradients.items()}
    assert last["rnn"] < 1e-3 * last["transformer"]
    assert last["conv"] == 0
    for kind in ("conv", "transformer", "lstm"):
        assert len(result.parallel[kind]) == len(result.stepwise[kind]) == 2


@pytest.mark.parametrize("outline", ["L", "ring"])
def test_bending_changes_nothing_intrinsic(outline: str) -> None:
    result = invariance.run(refine=2, bends=1, eigenpairs=8, outline=outline)
    for name, change in result.changes.items():
        if name in invariance.INTRINSIC:
            assert float(change.max()) < 1e-9, name
        else:
            assert float(change.mean()) > 0.05, name
    for pose in ("rolled", "folded"):
        torch.testing.assert_close(
            result.signatures[pose], result.signatures["flat"], atol=1e-8, rtol=0
        )
    assert result.between["eigenvalues"] > 0.05


def test_linear_robustness_is_a_count_of_margins() -> None:
    found = adversarial_geometry.linear_case(seed=1)
    for name, (measured, theory) in found.items():
        tolerance = 0.01 if "Wagner" in name else 1e-9
        assert measured == pytest.approx(theory, rel=tolerance), name


def test_training_against_attacks_moves_the_boundary_away() -> None:
    result = adversarial_geometry.run(epochs=50, samples=300, trained_at=(0.0, 0.2))
    assert result.attacked[1] > result.attacked[0] + 0.03
    assert result.clean[0] > 0.95
    assert sorted(result.robust["undefended"], reverse=True) == list(result.robust["undefended"])
    lengths = {n: (w[:, -1] - w[:, 0]).norm(dim=1) for n, w in result.ways.items()}
    assert bool((lengths["Carlini and Wagner"] <= lengths["FGSM"] + 1e-6).all())
    steps = result.ways["PGD"] - result.ways["PGD"][:, :1]
    assert float(steps.abs().max()) <= result.eps + 1e-6


def test_failures_of_risk_minimisation_are_those_of_theory() -> None:
    result = pac.run(hypotheses=101, draws=20_000)
    for m, failed in zip(result.sizes.tolist(), result.failed.tolist(), strict=True):
        exact = pac.exact_failure(m, result.eps, 101)
        assert abs(failed - exact) < 4 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-9
        assert failed <= 101 * (1 - result.eps) ** m
    assert result.failed_there <= result.delta
    bound = ((math.log(101) + math.log(2 / result.delta)) / 2 / result.sizes).sqrt()
    assert bool((result.deviation <= bound).all())
    assert bool((result.excess <= 2 * result.deviation + 1e-9).all())


def test_the_largest_threshold_that_fits_is_found() -> None:
    grid = torch.linspace(0, 1, 11, dtype=torch.float64)
    errors = pac.realizable(3, 500, 0.3, grid, torch.Generator().manual_seed(0))
    x = torch.rand(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for row, error in zip(x, errors.tolist(), strict=True):
        fits = [float(a) for a in grid if bool(((row > a) == (row > 0.3)).all()) and a >= 0.3]
        assert error == pytest.approx(max(fits) - 0.3, abs=1e-12)
