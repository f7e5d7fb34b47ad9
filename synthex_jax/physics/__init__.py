"""X-ray physics that knows energies and materials, and no rays."""
