"""Models of sequences: text, time series, and images as sequences of patches."""
