"""Models: from a name to weights in memory, adapters on top of them, and the policy that training calls."""
