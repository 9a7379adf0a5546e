"""What each command of `wharf` does; ..cli reads their arguments and options."""
