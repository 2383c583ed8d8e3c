"""The model card of a checkpoint: facts, the generated part, and the file that people may write on."""
