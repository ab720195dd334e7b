"""Latent-variable models: everything here encodes, decodes, samples and interpolates."""
