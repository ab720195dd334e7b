"""Pure functions from data to a matplotlib ``Figure``; nothing is shown, written or kept."""

from zoo.plots.curves import stopping_curves
from zoo.plots.images import image_grid, image_rows, manifold
from zoo.plots.latent import latent_scatter

__all__ = ["image_grid", "image_rows", "latent_scatter", "manifold", "stopping_curves"]
