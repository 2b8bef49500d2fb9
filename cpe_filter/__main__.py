"""`python3 -m cpe_filter`: the same as the command `cpe-filter`."""

from cpe_filter.cli.main import main

if __name__ == "__main__":
    main()
