"""Data: from the user's files to token trees with loss weights. `build.py` shows the flow on one page."""
