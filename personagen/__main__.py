"""`python -m personagen`, and `torchrun -m personagen`: the console command."""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("apps.cli").main())  # found by name: no import of this package leads up to the command line
