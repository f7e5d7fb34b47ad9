"""Projectors: from a volume and a camera to integrals along rays."""
