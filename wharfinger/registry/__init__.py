"""The registry's own configuration: what may be set, and the file that is rendered."""
