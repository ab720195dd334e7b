"""A deep-learning course as LightningModules.

``zoo.list_models()``, ``zoo.create_model("vae", latent_dim=8)``, ``zoo.load("…/best.ckpt")``, and
every model class by name. A name is imported when it is first used, so that ``import zoo`` is
fast; ``__init__.pyi`` lists all names.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
