"""The hubs that models and data sets come from, each through its own client. Nothing that is fetched is ever run."""
