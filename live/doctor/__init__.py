"""What this machine can do: each stage measured, and the frame rate that it holds safely.

::

    machine, gpu ─► what there is
    ask ─► probe (a process of its own for each measurement) ─► timing
    timing ─► saferate (pure) ─► table

Nothing that is measured runs in the process that asks: a crash, a refusal or a hang of one stage is
a line in the table, with the reason.
"""
