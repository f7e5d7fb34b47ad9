"""Annotations of an image: structures, masks, boxes, landmarks, heat maps."""
