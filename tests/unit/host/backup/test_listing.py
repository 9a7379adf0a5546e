"""What the list of a backup holds while clients push and delete."""
