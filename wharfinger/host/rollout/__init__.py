"""A new container beside the old one: started, proven, switched to; the old one drained."""
