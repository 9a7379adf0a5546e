"""The facts of the product, each in one place: tables that all other rooms read. Pure."""
