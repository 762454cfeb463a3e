"""How rows reach functions on an executor: batches, sandboxed decoding, GPU inference."""
