"""What the product is: each fact once, in tables that everything else reads. Pure."""
