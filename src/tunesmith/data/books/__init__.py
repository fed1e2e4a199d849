"""Books: PDF files -> clean text in reading order, its passages, and questions about them."""
