"""Quantise a model by llm-compressor (extra `compress`), and measure what that costs against the parent."""
