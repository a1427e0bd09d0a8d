"""The paper's experiments that make models: targeted fine-tuning (Table 1) and compression (Table 2)."""
