"""The parts that models are built of: encoders, denoisers, item embeddings."""
