"""``python train.py --model vae``: train a model, test its best checkpoint, print the results."""

from zoo.cli.main import main

if __name__ == "__main__":
    main()
