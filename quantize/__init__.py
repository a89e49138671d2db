"""GGUF: convert a model directory, build quantized files, and prove that they are the model.

Knows GGUF, numpy and llama.cpp; knows nothing of MLX or training.
"""
