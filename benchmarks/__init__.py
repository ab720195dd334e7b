"""Speed, side by side with a plain PyTorch loop and with peers, in one run on one machine."""
