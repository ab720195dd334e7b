"""Models with a latent space: PCA, autoencoders, variational autoencoders, GANs."""
