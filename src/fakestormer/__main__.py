"""`python -m fakestormer` is the `fakestormer` command."""

from fakestormer.cli import main

main()
