"""Classes of objects: examples, the network on their crops, and what it is worth."""
