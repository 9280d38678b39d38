"""From delivered files to the raw layer: contract, dialects, the engine that compiles them, and the raw assets."""
