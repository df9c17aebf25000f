"""``python -m homeo_rl`` is ``homeo-rl``."""

from homeo_rl.cli import main

if __name__ == "__main__":
    main()
