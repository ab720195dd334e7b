"""Requirements for every model of the zoo, parametrized over the registry.

A new family needs no change here: the recipe names the data, and the model's contract
(``forward_inputs``, ``output_shape``, ``batch_size``) describes how to use a batch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor

import zoo
from zoo import DLinear
from zoo.core.closed_form import ClosedFormTask
from zoo.core.constructor import creation_arguments
from zoo.core.registry import import_class, read_recipe
from zoo.core.signature import arguments_of, defaults_of
from zoo.core.task import Task
from zoo.errors import InputError
from zoo.models.latent.adversarial import AdversarialTask

MODELS = zoo.list_models()

#: smaller versions of data sets that take long to generate
SMALL: dict[str, dict[str, Any]] = {
    "Articulated": {"num_samples": 120},
    "BodyParts": {"num_samples": 24, "eigenpairs": 16, "val_size": 4},
    "Isometric": {"num_samples": 48, "eigenpairs": 16},
    "Text": {"max_characters": 60_000},
}


def make_data(name: str, **options: Any) -> Any:
    """Create the data of a model's recipe, reduced in size."""
    data = read_recipe(name)["data"]
    cls = import_class(data["class_path"])
    kind = {k: v for k, v in data.get("init_args", {}).items() if k in ("task", "voxel_resolution")}
    points = {"num_points": 64} if "num_points" in arguments_of(cls) else {}
    return cls(**kind, **points, **SMALL.get(cls.__name__, {}), **options)


@cache
def _batch(name: str, samples: int) -> Any:
    data = make_data(name, batch_size=samples)
    data.setup("fit")
    return next(iter(data.train_dataloader()))


def make_batch(name: str, samples: int = 32) -> Any:
    """Return a training batch of a model's data."""
    return copy.deepcopy(_batch(name, samples))


class Repeat:
    """A loader that yields the same batch ``times`` times."""

    def __init__(self, batch: Any, times: int = 1) -> None:
        self.batch = batch
        self.times = times

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[Any]:
        return iter([self.batch] * self.times)


def forward(model: Task, batch: Any) -> Tensor:
    """Run the model on a batch, with the same noise every time."""
    with model.seeded(0):
        return model(*model.forward_inputs(batch))


def doubled(batch: Any) -> Any:
    """Return a batch in float64."""
    if isinstance(batch, tuple):
        return tuple(t.double() if t.is_floating_point() else t for t in batch)
    return batch.clone().apply(lambda t: t.double() if t.is_floating_point() else t)


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_forward_is_finite_and_has_the_declared_shape(name: str) -> None:
    model, batch = zoo.create_model(name).eval(), make_batch(name)
    output = forward(model, batch)
    assert output.shape == model.output_shape(batch)
    assert output.isfinite().all()


def test_every_parameter_receives_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = zoo.create_model(name)
    parts = model.step(make_batch(name))
    losses = [parts["loss"], *[parts[key] for key in ("generator_loss",) if key in parts]]
    assert all(loss.isfinite() for loss in losses)
    names, parameters = zip(*model.named_parameters(), strict=True)
    reached = torch.zeros(len(names), dtype=torch.bool)
    for loss in losses:  # a generator is not part of its discriminator's loss
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for index, gradient in enumerate(gradients):
            if gradient is not None:
                assert gradient.isfinite().all(), names[index]
                reached[index] |= gradient.abs().sum() > 0
    assert reached.all(), [names[index] for index in (~reached).nonzero()[:, 0].tolist()]


#: fraction of the initial loss to reach on one batch of 16 samples, default one half; the loss of a
#: VAE cannot fall below the entropy of its gray pixels, that of a graph autoencoder not below the
#: entropy of the pairs sampled in every step
OVERFIT = {"vae": 0.52, "vae_50": 0.52, "autoencoder": 0.1, "mlp": 0.05, "graph_autoencoder": 0.85}
#: sizes of that batch for models that would take long on 16 samples
FEW_SAMPLES = {"diffusion_net": 4, "mesh_parts": 4}
PATIENCE = 10  # steps in a row that must be below the limit before training ends early


class StopBelow(L.Callback):
    """Ends training once the loss has been below a limit for ``PATIENCE`` steps in a row."""

    def __init__(self, limit: float) -> None:
        self.limit, self.below = limit, 0

    def on_train_batch_end(self, trainer: L.Trainer, model: Any, outputs: Any, *_: Any) -> None:
        if not outputs:  # a closed-form solver returns no loss
            return
        self.below = self.below + 1 if float(outputs["loss"]) < self.limit else 0
        trainer.should_stop = self.below >= PATIENCE


def test_one_batch_overfits(name: str, trainer: Callable[..., L.Trainer]) -> None:
    off = ("dropout", "attention_dropout", "input_dropout", "label_smoothing", "input_noise")
    known = arguments_of(import_class(read_recipe(name)["model"]["class_path"]))
    options = {key: 0.0 for key in off if key in known}
    model = zoo.create_model(name, lr=3e-3, schedule="constant", **options)
    batch = make_batch(name, FEW_SAMPLES.get(name, 16))
    if isinstance(model, AdversarialTask):  # the losses of two networks do not decrease together
        distance = distance_to(batch, model)
        steps = 400 * model.hparams["discriminator_steps"]
        trainer(max_epochs=1).fit(model, Repeat(batch, steps))
        assert distance_to(batch, model) < 0.6 * distance
        return
    initial = float(model.step(batch)["loss"].detach())
    limit = OVERFIT.get(name, 0.5) * initial
    stop = StopBelow(0.95 * limit)
    trainer(max_epochs=1, callbacks=[stop]).fit(model, Repeat(batch, 400))
    assert float(model.step(batch)["loss"].detach()) < limit


def distance_to(batch: Any, model: AdversarialTask) -> float:
    """Return the mean distance of generated samples from the nearest sample of a batch."""
    samples = model.sample(200, torch.Generator().manual_seed(0)).detach()
    return float(torch.cdist(samples.flatten(1), batch[0].flatten(1)).min(1).values.mean())


def test_checkpoint_round_trip(
    name: str, trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    model, data = zoo.create_model(name), make_data(name)
    fit = trainer(max_epochs=1, limit_train_batches=3, limit_val_batches=1)
    fit.fit(model, data)
    fit.save_checkpoint(tmp_path / "model.ckpt")
    loaded = zoo.load(tmp_path / "model.ckpt")
    batch = make_batch(name)
    assert type(loaded) is type(model)
    assert torch.equal(forward(loaded, batch), forward(model.eval(), batch))
    assert dict(loaded.hparams) == dict(model.hparams)


def fit_with(seed: int, name: str, trainer: Callable[..., L.Trainer]) -> Task:
    L.seed_everything(seed, verbose=False)
    model = zoo.create_model(name)
    trainer(max_epochs=1, limit_train_batches=5).fit(model, make_data(name))
    return model


def same(one: Task, two: Task) -> bool:
    values = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in values)


def test_runs_depend_only_on_the_seed(name: str, trainer: Callable[..., L.Trainer]) -> None:
    first, again, other = (fit_with(seed, name, trainer) for seed in (1, 1, 2))
    assert same(first, again)
    solved = isinstance(first, ClosedFormTask) and not first.automatic_optimization
    # closed-form solutions and models without random weights do not depend on the seed
    assert same(first, other) == (solved or isinstance(first, DLinear))


def test_training_and_validation_losses_agree(name: str, trainer: Callable[..., L.Trainer]) -> None:
    """With the same batch, the same noise and the model in the same mode."""
    model = zoo.create_model(name).eval()
    batch = make_batch(name)
    losses: list[Tensor] = []
    for hook in ("validate", "test"):
        (metrics,) = getattr(trainer(), hook)(model, Repeat(batch), verbose=False)
        stage = "val" if hook == "validate" else "test"
        losses.append(torch.tensor(metrics[f"{stage}/loss"]))
    model.eval()
    with model.seeded_for(batch, 0):
        loss = model.step(batch)["loss"].detach()
    torch.testing.assert_close(loss, losses[0])
    torch.testing.assert_close(losses[0], losses[1])


def test_evaluation_is_reproducible(name: str, trainer: Callable[..., L.Trainer]) -> None:
    model, data = zoo.create_model(name), make_data(name)
    first, second = (trainer().test(model, data, verbose=False) for _ in range(2))
    assert first == second


def test_hyper_parameters_are_plain_values(name: str) -> None:
    def plain(value: Any) -> bool:
        if isinstance(value, tuple | list):
            return all(map(plain, value))
        if isinstance(value, dict):
            return all(map(plain, value.values()))
        return value is None or isinstance(value, bool | int | float | str)

    hyper_parameters = zoo.create_model(name).hparams
    assert {"lr", "optimizer", "schedule"} <= set(hyper_parameters)
    assert all(map(plain, hyper_parameters.values()))


def test_double_precision(name: str) -> None:
    model = zoo.create_model(name).double()
    assert model.step(doubled(make_batch(name)))["loss"].dtype == torch.float64


def test_metrics_have_descriptions(name: str) -> None:
    model = zoo.create_model(name).eval()
    parts = model.step(make_batch(name))
    named = set(parts) - {"weight", "outputs"} | set(model.make_metrics())
    assert named <= set(model.describe_metrics())


def test_unknown_names_get_suggestions() -> None:
    assert {"vae", "autoencoder", "mlp"} <= set(MODELS)
    with pytest.raises(zoo.errors.InputError, match="unknown model 'vea'; did you mean 'vae'"):
        zoo.create_model("vea")


def test_create_model_with_data_and_overrides() -> None:
    model = zoo.create_model("vae", latent_dim=8)
    assert model.latent_dim == 8
    assert model.input_shape == (1, 8, 8)
    assert zoo.create_model("vae", data="mnist").input_shape == (1, 28, 28)
    assert zoo.create_model("vae", input_shape=(3, 5, 7)).input_shape == (3, 5, 7)


#: invalid values of arguments, for every class that has an argument of the name
INVALID: dict[str, tuple[Any, ...]] = {
    "attention_dropout": (-0.5, 1.0, 1.5),
    "blocks": (0, -1, 1.5),
    "channels": ((0,), (1.5,)),
    "code_dim": (0, 1.5),
    "conv_dropout": (-1.0, 1.0, 1.5),
    "dim": (0, -1, 1.5, "x"),
    "discriminator_hidden_dims": ((0,), (-1,)),
    "discriminator_lr": (-1.0, math.nan),
    "dropout": (-1.0, 1.0, 1.5, math.nan, "x"),
    "edge_dropout": (-0.5, 1.5),
    "head_dropout": (-0.5, 1.5),
    "heads": (0, 1.5),
    "hidden_dim": (0, 1.5),
    "hidden_dims": ((0,), (-1,), (1.5,)),
    "horizon": (0, 1.5),
    "init_std": (-0.5, math.nan),
    "input_dropout": (-0.5, 1.0, 1.5),
    "k": (0, 1.5),
    "kernel_size": (0, -1, 1.5),
    "kl_warmup": (-1.0, 1.5),
    "l1": (-1.0, math.nan, {"*": -1.0}),
    "l2": (-1.0, math.inf),
    "label_smoothing": (-1.0, 1.0, math.nan),
    "latent_dim": (0, 1.5, "x"),
    "layers": (-1, 1.5),
    "lookback": (0, 1.5),
    "levels": (1, -1, 2.5),
    "lp": (-1.0,),
    "lr": (-1.0, math.nan, math.inf, "x"),
    "max_norm": (0.0, -1.0, math.inf, {"*": 0.0}),
    "mlp_dim": (0, 1.5),
    "num_classes": (0, 2.5),
    "num_codes": (1, 2.5),
    "num_features": (0, -1, 1.5),
    "num_members": (0, 1.5),
    "num_targets": (0, 1.5),
    "p": (0.0, -1.0, math.nan, math.inf),
    "patch_size": (0, 1.5),
    "pixel_mean": (math.nan, math.inf),
    "pixel_std": (0.0, -1.0, math.nan),
    "prior_blocks": (-1, 1.5),
    "prior_width": (0, 1.5),
    "propagation_steps": (-1, 1.5),
    "stem_stride": (0, 1.5),
    "stride": (0, 1.5),
    "vocab_size": (0, -1, 1.5),
    "warmup": (-1.0, 1.5, math.inf),
    "weight_decay": (-1.0, math.inf),
    "width": (0, 1.5),
    "widths": ((0,), (), (1.5,)),
}


@pytest.mark.parametrize("name", MODELS)
def test_values_out_of_range_are_refused_at_construction(name: str) -> None:
    model = zoo.create_model(name)
    cls, arguments = type(model), creation_arguments(model)
    for argument in INVALID.keys() & arguments_of(cls):
        for value in INVALID[argument]:
            with pytest.raises(InputError, match=f"^{argument} |{argument}="):
                cls(**{**arguments, argument: value})


#: numeric arguments that may be negative
MAY_BE_NEGATIVE = {"pixel_mean", "target_mean", "interval", "seed", "padding", "axes", "modes"}


@pytest.mark.parametrize("name", MODELS)
def test_no_number_is_negative_infinite_or_nan(name: str) -> None:
    """Every numeric argument of every model, whether or not it is listed above."""
    model = zoo.create_model(name)
    cls, arguments = type(model), creation_arguments(model)
    for argument, value in defaults_of(cls).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        bad = [math.nan, math.inf] + ([] if argument in MAY_BE_NEGATIVE else [-1.0])
        for number in [*bad, 1.5] if isinstance(value, int) else bad:
            with pytest.raises(InputError, match=f"^{argument} |{argument}="):
                cls(**{**arguments, argument: number})
