"""``python -m milinfer``."""

from milinfer.cli import main

if __name__ == "__main__":
    main()
