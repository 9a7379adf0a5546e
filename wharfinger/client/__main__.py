"""`python -m wharfinger.client` is `wharf`."""

from .main import main

main()
