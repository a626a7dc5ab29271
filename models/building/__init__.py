"""Files for engines out of the networks that ship: other precisions, checked against the first.

``precision`` and ``quantise`` make ONNX files of 16 and of 8 bits, ``accuracy`` compares them with
the reference on frames that were held back, and ``bundle`` writes what passed. They need the
package ``onnx``, which comes with the extra "build".
"""
