"""Supervised models: regression and classification of dense data."""
