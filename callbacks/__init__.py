"""Lightning callbacks for any model that follows the contracts of the zoo's base classes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
