"""Running a GGUF: the engine, the OpenAI-compatible server, chat in a plain terminal."""
