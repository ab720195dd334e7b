"""Pure tensor functions, without state and without Lightning."""
