"""Networks, in Flax: they know arrays, not X-rays."""
