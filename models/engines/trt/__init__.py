"""TensorRT on an NVIDIA GPU: engines are built, kept and run here. Nothing heavy is imported.

``engine`` is what `models.engines.open_engine` opens. Building goes through ``suited``, ``dense``,
``sizes`` and ``build``; what was built is kept by ``cache``, and loaded by ``plan``. Frames go
through ``hotpath``, which has a ``lane`` for each size and lends results (``lending``), on a
``device``: ``cuda``. The two ``flavours`` of TensorRT differ in little.
"""
