"""Models of sequences: of tokens, of numbers in time, of the patches of an image."""
