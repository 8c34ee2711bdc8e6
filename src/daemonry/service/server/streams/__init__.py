"""A stream's way out: its generator's results, their frames, and the pace at which they are sent."""
