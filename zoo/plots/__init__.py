"""Pure functions from data to a matplotlib ``Figure``; they show, write and store nothing."""

from zoo.plots.attacks import (
    adversarial_images,
    displaced_meshes,
    displaced_point_clouds,
    robust_training,
    robustness_curves,
    transfer_matrix,
    universal_perturbation,
)
from zoo.plots.classification import calibration, confusion_matrix, decision_boundary
from zoo.plots.curves import learning_curves, stopping_curves
from zoo.plots.graphs import flipped_edges, graph_classes, spring_layout
from zoo.plots.images import image_equation, image_grid, image_rows, latent_manifold
from zoo.plots.latent import (
    LatentPanel,
    explained_variance,
    latent_comparison,
    latent_scatter,
    scatter_panels,
)
from zoo.plots.meshes import Mesh, draw_mesh, meshes, render, view_rotation, voxels, write_html
from zoo.plots.points import point_clouds
from zoo.plots.regression import fitted_curve, predicted_against_true
from zoo.plots.sequences import (
    AttentionMap,
    attention_maps,
    forecasts,
    future_forecast,
    position_similarity,
)
from zoo.plots.weights import (
    attribution_maps,
    feature_maps,
    filters,
    labeled_images,
    pruning_curve,
    weight_histograms,
)

__all__ = [
    "AttentionMap",
    "LatentPanel",
    "Mesh",
    "adversarial_images",
    "attention_maps",
    "attribution_maps",
    "calibration",
    "confusion_matrix",
    "decision_boundary",
    "displaced_meshes",
    "displaced_point_clouds",
    "draw_mesh",
    "explained_variance",
    "feature_maps",
    "filters",
    "fitted_curve",
    "flipped_edges",
    "forecasts",
    "future_forecast",
    "graph_classes",
    "image_equation",
    "image_grid",
    "image_rows",
    "labeled_images",
    "latent_comparison",
    "latent_manifold",
    "latent_scatter",
    "learning_curves",
    "meshes",
    "point_clouds",
    "position_similarity",
    "predicted_against_true",
    "pruning_curve",
    "render",
    "robust_training",
    "robustness_curves",
    "scatter_panels",
    "spring_layout",
    "stopping_curves",
    "transfer_matrix",
    "universal_perturbation",
    "view_rotation",
    "voxels",
    "weight_histograms",
    "write_html",
]
