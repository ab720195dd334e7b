"""Pure functions from data to a matplotlib ``Measurement``; nothing is shown, written or kept."""

from zoo.plots.attacks import (
    adversarial_images,
    displaced_clouds,
    displaced_meshes,
    flipped_edges,
    robust_training,
    robustness_curves,
    transfer_matrix,
    universal_perturbation,
)
from zoo.plots.classification import calibration, confusion_matrix, decision_boundary
from zoo.plots.curves import learning_curves, stopping_curves
from zoo.plots.graphs import graph_classes, layout
from zoo.plots.images import equation, image_grid, image_rows, manifold
from zoo.plots.latent import (
    Panel,
    explained_variance,
    latent_comparison,
    latent_scatter,
    point_panels,
)
from zoo.plots.meshes import Drawn, draw_mesh, meshes, render, seen_from, voxels, write_html
from zoo.plots.points import point_clouds
from zoo.plots.regression import fitted_curve, predicted_against_true
from zoo.plots.sequences import (
    AttentionMap,
    attention_maps,
    forecasts,
    position_similarity,
)
from zoo.plots.weights import (
    feature_maps,
    filters,
    image_and_signed_rows,
    labeled_images,
    pruning_curve,
    weight_histograms,
)

__all__ = [
    "AttentionMap",
    "Drawn",
    "Panel",
    "adversarial_images",
    "attention_maps",
    "calibration",
    "confusion_matrix",
    "decision_boundary",
    "displaced_clouds",
    "displaced_meshes",
    "draw_mesh",
    "equation",
    "explained_variance",
    "feature_maps",
    "filters",
    "fitted_curve",
    "flipped_edges",
    "forecasts",
    "graph_classes",
    "image_and_signed_rows",
    "image_grid",
    "image_rows",
    "labeled_images",
    "latent_comparison",
    "latent_scatter",
    "layout",
    "learning_curves",
    "manifold",
    "meshes",
    "point_clouds",
    "point_panels",
    "position_similarity",
    "predicted_against_true",
    "pruning_curve",
    "render",
    "robust_training",
    "robustness_curves",
    "seen_from",
    "stopping_curves",
    "transfer_matrix",
    "universal_perturbation",
    "voxels",
    "weight_histograms",
    "write_html",
]
