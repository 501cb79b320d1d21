"""Where models and datasets come from: the Hugging Face Hub, a folder, or builtin:NAME."""
