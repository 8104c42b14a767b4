"""The imperative shell: the loops, the one consumer that owns the state, and what readers see of it."""
