"""What a deployment makes on a host around the containers, and how it is taken away."""
