"""Configuration: the recipe's types and how one is read."""
