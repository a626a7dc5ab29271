"""From a block, or the way home, to jobs that are due one after the other. Pure."""

from __future__ import annotations

from useq._mda_event import Channel as EventChannel

from live.plan.blocks import Block, Home, Job, is_move, move


def block_jobs(block: Block, now_s: float) -> list[Job]:
    """Jobs of a block that starts now; at least one.

    A block without events, which is an effect or a script, is one job that only moves. Alike
    events without an interval between them are one job, a hardware sequence.
    """
    first, count = not block.begun, len(block.events)
    if not count:
        return [Job(move(), now_s, block.decision, block, begins=first, ends=True)]
    event = block.events[0]
    hardware = block.interval_s == 0 if block.hardware is None else block.hardware
    alike = count > 1 and all(other is event for other in block.events)
    if hardware and alike and not is_move(event):
        return [
            Job(
                event,
                now_s,
                block.decision,
                block,
                begins=first,
                ends=True,
                sequence=count,
                interval_s=block.interval_s,
            )
        ]
    jobs = []
    due_s = now_s
    for number, event in enumerate(block.events):
        begins, ends = first and number == 0, number == count - 1
        jobs.append(Job(event, due_s, block.decision, block, begins=begins, ends=ends))
        due_s += 0.0 if is_move(event) else block.interval_s
    return jobs


def home_jobs(home: Home, now_s: float) -> list[Job]:
    """Steps back to how the plan was imaging: presets first, for they may change the optics."""
    events = [
        move(channel=EventChannel(group=group, config=preset)) for group, preset in home.presets
    ]
    events.append(
        move(
            x_pos=home.x_um if "x" in home.axes else None,
            y_pos=home.y_um if "y" in home.axes else None,
            z_pos=home.z_um if "z" in home.axes else None,
            exposure=home.exposure_ms or None,
            channel=home.channel,
        )
    )
    return [Job(event, now_s) for event in events]
