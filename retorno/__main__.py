"""`python -m retorno` is the command `retorno`."""

import sys

from retorno.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
