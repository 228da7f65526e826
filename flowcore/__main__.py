"""``python -m flowcore``: the command line."""

from flowcore.cli import main

if __name__ == "__main__":
    main()
