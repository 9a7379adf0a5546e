"""Backup and restore: what of a registry is saved, and how it comes back."""
