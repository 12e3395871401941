"""Commands: one module per group; they parse, delegate and print, and hold no rule."""
