"""Forward passes of language models: continuations scored, texts written; shortcuts only where they are proven."""
