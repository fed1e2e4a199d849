"""tunesmith: fine-tune language models on the machine you have, and see that it worked."""

__version__ = "0.1.0"
