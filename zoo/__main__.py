"""``python -m zoo …``: the same as ``python train.py …``, from any folder."""

from zoo.cli.main import main

if __name__ == "__main__":
    main()
