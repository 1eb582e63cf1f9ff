"""`python -m skytrace` and `skytrace`: the same commands as `kedro`, in the checkout that they are called from."""

from kedro.framework.cli.cli import main

__all__ = ["main"]

if __name__ == "__main__":  # worker processes import this module again
    main()
