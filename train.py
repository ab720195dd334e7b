"""``python train.py --model vae``: trains, tests the best checkpoint, says where everything is."""

from zoo.cli.main import main

if __name__ == "__main__":
    main()
