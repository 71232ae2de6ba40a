"""What a photo of a person says: body parts, joints, and which pixels may be repainted."""
