"""`python -m mplframe`."""

from mplframe.cli import main

if __name__ == "__main__":
    main()
