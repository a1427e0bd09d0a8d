"""Chat templates and tokenizers, which a model brings and are nearly programs, in processes with limits."""
