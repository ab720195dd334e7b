"""Claims of the studies autoencoder-vs-vae, elbo, gan-divergence, attention, receptive-fields,
invariance, adversarial-geometry and pac."""

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

# -- autoencoder-vs-vae ----------------------------------------------------------------------------


def test_decoded_lines_of_pca_are_straight_and_even() -> None:
    result = autoencoder_vs_vae.run(epochs=15, pairs=40)
    assert result.pca_deviation < 1e-5
    torch.testing.assert_close(result.unevenness["PCA"], torch.ones(40), atol=1e-4, rtol=0)
    assert float(result.unevenness["autoencoder"].mean()) > 1.1
    y = result.labels
    first, second = autoencoder_vs_vae.pairs_of_two_classes(y, 40, 0)
    assert bool((y[first] != y[second]).all())
    middle = {
        name: float(distances[:, 4].mean()) / result.reconstruction_distance[name]
        for name, distances in result.distances.items()
    }
    assert middle["autoencoder"] > middle["PCA"]


@pytest.mark.slow
def test_autoencoders_have_deeper_holes_than_vaes() -> None:
    """Runs at the default settings."""
    result = autoencoder_vs_vae.run()
    worst = {
        name: float(distances.max(1).values.mean()) / result.reconstruction_distance[name]
        for name, distances in result.distances.items()
    }
    assert worst["autoencoder"] > worst["VAE"] > worst["PCA"]
    unevenness = {name: float(u.mean()) for name, u in result.unevenness.items()}
    assert unevenness["autoencoder"] > unevenness["VAE"] > unevenness["PCA"]


# -- elbo ------------------------------------------------------------------------------------------


def test_gap_of_the_elbo_is_the_divergence_from_the_posterior() -> None:
    result = elbo.run(epochs=3, num_samples=100)
    assert result.identity_error < 1e-9
    assert result.exact_elbo == pytest.approx(result.log_likelihood, abs=1e-10)
    assert result.log_likelihood - result.elbo == pytest.approx(result.gap, abs=1e-6)
    gaps = result.log_likelihood - result.bounds
    assert float(gaps[0]) == pytest.approx(result.gap, abs=0.01)
    assert float(gaps[-1]) < 0.1 * float(gaps[0])
    assert bool((gaps.diff() < 1e-3).all())


def test_each_term_of_the_elbo_on_its_own_worsens_the_other() -> None:
    result = elbo.run(epochs=12, num_samples=10)
    assert result.kl["KL only"] < 1e-3
    assert result.kl["reconstruction only"] > 3 * result.kl["both terms"] > 0
    assert result.reconstruction["KL only"] > result.reconstruction["both terms"] + 5
    assert result.reconstruction["both terms"] > result.reconstruction["reconstruction only"] - 0.5


# -- gan-divergence --------------------------------------------------------------------------------


def test_discriminator_estimates_the_divergence() -> None:
    result = gan_divergence.run(steps=600)
    assert result.js[0] == pytest.approx(result.js[1], abs=3e-3)
    assert result.js[0] <= result.js[1] + 1e-6  # every discriminator gives a lower bound
    likely = result.p + result.q > 0.05
    assert float((result.learned - result.best).abs()[likely].max()) < 0.06
    assert abs(float(result.generators[-1, 0]) - 1) < 0.4
    assert float(result.generators[0, 0]) == -4


@pytest.mark.parametrize("theta", [0.0, 0.3, 1.0, 1.7])
def test_distances_of_two_uniform_densities(theta: float) -> None:
    p, q = gan_divergence.uniform_pair(theta)
    assert float(jensen_shannon(p, q)) == pytest.approx(min(theta, 1) * math.log(2), abs=1e-9)
    assert float(gan_divergence.wasserstein_distance(p, q)) == pytest.approx(theta, abs=1e-9)


# -- attention -------------------------------------------------------------------------------------


def test_identities_of_attention_hold_except_where_expected() -> None:
    errors = attention.identity_errors(seed=2)
    violated = {name for name, error in errors.items() if error > 1e-10}
    assert violated == {
        "… with positions added", "… with a causal mask", "… without the causal mask"
    }  # fmt: skip
    assert violated == set(attention.VIOLATED)


@pytest.mark.slow
def test_attention_classifies_sentences_that_a_bag_of_words_cannot() -> None:
    """Runs at the default settings."""
    result = attention.run()
    assert result.accuracies["attention, two layers"] > 0.98
    assert abs(result.accuracies["bag of words"] - 0.5) < 0.07
    first, second = result.p_positive
    assert first > 0.9
    assert second < 0.1


def test_short_run_of_attention_is_complete() -> None:
    result = attention.run(epochs=1, num_samples=200)
    words = len(result.learned_words)
    assert [tuple(w.shape) for w in result.learned_weights] == [(4, words, words)] * 2
    assert list(result.to_not)[5] == "6 not"
    assert sorted(attention.PAIR[0].split()) == sorted(attention.PAIR[1].split())


# -- receptive-fields ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(receptive_fields.KINDS))
def test_receptive_fields_of_sequences_agree_with_theory(kind: str) -> None:
    torch.manual_seed(0)
    for depth in (1, 3):
        network = receptive_fields.make_network(kind, depth)
        field = receptive_fields.receptive_field(receptive_fields.token_gradients(network, 40))
        assert field == receptive_fields.expected_field(kind, depth, 40)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_receptive_fields_of_image_stacks_agree_with_theory(count: int) -> None:
    torch.manual_seed(0)
    pixels = receptive_fields.pixel_gradients(count) > 0
    side = receptive_fields.expected_image_field(count)
    assert int(pixels.any(0).sum()) == int(pixels.any(1).sum()) == side
    assert side == {1: 4, 2: 10, 3: 22}[count]


def test_gradients_vanish_through_recurrence_but_not_through_attention() -> None:
    result = receptive_fields.run(length=32, depths=(1, 2), lengths=(8, 16))
    relative = {kind: float(g[30] / g[0]) for kind, g in result.gradients.items()}
    assert relative["rnn"] < 1e-3 * relative["transformer"]
    assert relative["conv"] == 0
    for kind in ("conv", "transformer", "lstm"):
        assert len(result.parallel_ms[kind]) == len(result.stepwise_ms[kind]) == 2


# -- invariance ------------------------------------------------------------------------------------


@pytest.mark.parametrize("outline", ["L", "ring"])
def test_bending_preserves_intrinsic_features_only(outline: str) -> None:
    result = invariance.run(resolution=2, bends=1, eigenpairs=8, outline=outline)
    for name, change in result.changes.items():
        if name in invariance.INTRINSIC:
            assert float(change.max()) < 1e-9, name
        else:
            assert float(change.mean()) > 0.05, name
    for pose in ("rolled", "folded"):
        torch.testing.assert_close(
            result.signatures[pose], result.signatures["flat"], atol=1e-8, rtol=0
        )
    assert result.between_outlines["eigenvalues"] > 0.05


# -- adversarial-geometry --------------------------------------------------------------------------


def test_robustness_of_a_linear_classifier_is_given_by_its_margins() -> None:
    results = adversarial_geometry.linear_case(seed=1)
    for name, (measured, theory) in results.items():
        tolerance = 0.01 if "Wagner" in name else 1e-9
        assert measured == pytest.approx(theory, rel=tolerance), name


def test_adversarial_training_moves_the_boundary_away() -> None:
    result = adversarial_geometry.run(epochs=50, num_samples=300, train_eps=(0.0, 0.2))
    assert result.robust_by_train_eps[1] > result.robust_by_train_eps[0] + 0.03
    assert result.clean_by_train_eps[0] > 0.95
    robust = list(result.robust_accuracy["undefended"])
    assert sorted(robust, reverse=True) == robust
    distances = {name: (p[:, -1] - p[:, 0]).norm(dim=1) for name, p in result.paths.items()}
    assert bool((distances["Carlini-Wagner"] <= distances["FGSM"] + 1e-6).all())
    offsets = result.paths["PGD"] - result.paths["PGD"][:, :1]
    assert float(offsets.abs().max()) <= result.eps + 1e-6


# -- pac -------------------------------------------------------------------------------------------


def test_fraction_of_failures_agrees_with_theory() -> None:
    result = pac.run(hypotheses=101, trials=20_000)
    for m, failed in zip(result.sizes.tolist(), result.failed.tolist(), strict=True):
        exact = pac.failure_probability(m, result.eps, 101)
        assert abs(failed - exact) < 4 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-9
        assert failed <= 101 * (1 - result.eps) ** m
    assert result.failed_at_sufficient <= result.delta
    bound = ((math.log(101) + math.log(2 / result.delta)) / 2 / result.sizes).sqrt()
    assert bool((result.deviation <= bound).all())
    assert bool((result.excess <= 2 * result.deviation + 1e-9).all())


def test_learner_takes_the_largest_consistent_threshold() -> None:
    grid = torch.linspace(0, 1, 11, dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    errors = pac.errors_of_largest_consistent(3, 500, 0.3, grid, rng)
    x = torch.rand(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for row, error in zip(x, errors.tolist(), strict=True):
        consistent = [a for a in grid.tolist() if bool(((row > a) == (row > 0.3)).all())]
        largest = max(a for a in consistent if a >= 0.3)
        assert error == pytest.approx(largest - 0.3, abs=1e-12)
