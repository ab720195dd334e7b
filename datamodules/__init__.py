"""Data for the zoo's models: LightningDataModules that are independent of the models."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
