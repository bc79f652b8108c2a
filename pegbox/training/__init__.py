"""Training: the model put together, its data, the frozen-prefix cache, the loop and what a trial leaves behind."""
