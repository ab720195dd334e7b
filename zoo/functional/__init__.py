"""Pure tensor functions: likelihoods, divergences, interpolation. No state, no Lightning."""
