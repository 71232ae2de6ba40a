"""LoRA files: attached, read, checked, written, merged."""
