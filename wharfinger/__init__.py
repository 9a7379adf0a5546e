"""Wharfinger: a private container registry on a fresh host, kept trustworthy."""

__version__ = "0.1.0"
