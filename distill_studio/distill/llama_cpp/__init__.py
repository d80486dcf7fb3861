"""A trained student as one GGUF file, for llama.cpp, Ollama and LM Studio.

Start at `plan.read_plan`, which refuses what cannot be written right, then `writer.write_gguf`.
The names and keys are those of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""
