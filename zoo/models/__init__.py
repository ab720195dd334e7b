"""Models, one folder per family: supervised, latent, sequences, geometric."""
