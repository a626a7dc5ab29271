"""A Micro-Manager microscope through pycro-manager.

``headless`` is a core in this process and is tested. ``connect`` talks to the Java bridge of a
Micro-Manager that runs; it needs one, so only its errors and its reading of images are tested.
"""

from __future__ import annotations

import ipaddress
import json
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import zmq

from drivers.errors import RigError, SettingsError
from drivers.micromanager import adapter_folder, config_file
from drivers.mmcore import CoreRig
from drivers.mmcore_close import close_shutters
from drivers.mmcore_images import Shot
from drivers.mmcore_names import set_property
from drivers.settings import PycroManagerSettings

_PIXEL_BYTES = {"GRAY8": np.uint8, "GRAY16": np.uint16}


def open_pycromanager(settings: PycroManagerSettings) -> CoreRig:
    """Rig of a core that pycro-manager gives; it is opened on entering the rig's block.

    Raises
    ------
    SettingsError
        When pycro-manager is not installed, or a file or folder does not exist.
    """
    try:
        import mmpycorex
    except ImportError as error:
        raise SettingsError(
            "the pycromanager rig needs a package that is not installed; "
            "run: python -m pip install 'parfocal[pycromanager]'"
        ) from error
    software = f"pycro-manager {version('pycromanager')} (mmpycorex {mmpycorex.__version__})"
    return (
        _headless(settings, software)
        if settings.mode == "headless"
        else _connect(settings, software)
    )


class BridgeImages:
    """Images of a core behind the Java bridge, as tagged images: pixels in one row, and tags."""

    def snap(self, core: Any) -> Shot:
        """Expose and fetch one image."""
        core.snapImage()
        captured_ns = time.monotonic_ns()
        return _shot(core.getTaggedImage(), captured_ns)

    def pop(self, core: Any) -> Shot:
        """Take the oldest image out of the sequence buffer."""
        return _shot(core.popNextTaggedImage())

    def last(self, core: Any) -> Shot:
        """Copy the newest image of the sequence buffer."""
        return _shot(core.getLastTaggedImage())


def _shot(tagged: Any, captured_ns: int = 0) -> Shot:
    tags = dict(tagged.tags)
    kind = str(tags.get("PixelType"))
    if kind not in _PIXEL_BYTES:
        raise RigError(f"the camera gives {kind} images, need GRAY8 or GRAY16; set its PixelType")
    shape = (int(tags["Height"]), int(tags["Width"]))
    # The bridge copies the pixels into an array of its own, so they may be kept.
    pixels = np.asarray(tagged.pix).view(_PIXEL_BYTES[kind]).reshape(shape)
    now_ns = time.monotonic_ns()
    return Shot(
        pixels,
        captured_ns or now_ns,
        now_ns,
        int(tags.get("ImageNumber", -1)),
        float(tags.get("ElapsedTime-ms", -1.0)),
    )


def _headless(settings: PycroManagerSettings, software: str) -> CoreRig:
    adapters, notes = adapter_folder(settings.adapters)
    config = config_file(settings.config)

    def open_core() -> Any:
        # pycro-manager's own way to a core. Its start_headless does the same and starts its
        # acquisition engine, which we do not use and which keeps the core's memory for ever.
        from mmpycorex import Core, create_core_instance, is_pymmcore_active

        if is_pymmcore_active():
            raise RigError("pycro-manager's core is open already in this process; close it first")
        try:
            create_core_instance(
                mm_app_path=str(adapters),
                config_file=str(config),
                python_backend=True,
                buffer_size_mb=settings.camera_buffer_mb,
            )
        except Exception as error:
            raise SettingsError(
                f"{config} did not load: {' '.join(str(error).split())} (adapters from {adapters})"
            ) from error
        core = Core(convert_camel_case=False)
        try:
            _start_up(core, settings)
        except BaseException:
            _stop_headless(core)
            raise
        return core

    return CoreRig(
        open_core,
        name="pycromanager",
        config=str(config),
        adapters=str(adapters),
        software=f"{software}, headless Python core",
        notes=notes,
        limits=settings.limits.limits(),
        camera_buffer_mb=None,  # set above, and setting it twice costs its time twice
        ready_timeout_s=settings.ready_timeout_s,
        close_core=_stop_headless,
    )


def _stop_headless(core: Any) -> None:
    from mmpycorex import terminate_core_instances

    try:
        close_shutters(core)
    finally:
        # mmpycorex ties the core into a knot that is never collected; its buffer must go by hand.
        core.setCircularBufferMemoryFootprint(1)
        terminate_core_instances()


def _connect(settings: PycroManagerSettings, software: str) -> CoreRig:
    place = f"{settings.address}:{settings.port}"

    def open_core() -> Any:
        probe(settings.address, settings.port, settings.connect_timeout_s)
        try:
            core = _remote_core(settings)
        except Exception as error:
            raise RigError(f"Micro-Manager at {place} gave no core: {error}") from error
        _start_up(core, settings)
        return core

    return CoreRig(
        open_core,
        name="pycromanager",
        config=f"Micro-Manager at {place}",
        adapters="those of the running Micro-Manager",
        software=f"{software}, Java bridge",
        notes=(
            "every pixel crosses pycro-manager's Java bridge, which is slow (about 100 MB/s at "
            "best); for fast imaging open the same .cfg with driver: micromanager",
        ),
        limits=settings.limits.limits(),
        camera_buffer_mb=None,
        ready_timeout_s=settings.ready_timeout_s,
        # The hardware belongs to the Micro-Manager that goes on running: nothing is unloaded.
        close_core=lambda _: None,
        images=BridgeImages(),
    )


def _remote_core(settings: PycroManagerSettings) -> Any:
    timeout_ms = int(settings.connect_timeout_s * 1000)
    if settings.address == "localhost" or ipaddress.ip_address(settings.address).is_loopback:
        from mmpycorex import Core

        return Core(convert_camel_case=False, port=settings.port, timeout=timeout_ms)
    # Core knows no address but this host's, so the bridge below it is asked.
    from pyjavaz import Bridge  # type: ignore[import-untyped]

    bridge = Bridge.create_or_get_existing_bridge(
        port=settings.port,
        convert_camel_case=False,
        ip_address=settings.address,
        timeout=timeout_ms,
    )
    return bridge._construct_java_object("mmcorej.CMMCore")


def probe(address: str, port: int, timeout_s: float) -> None:
    """Ask for a bridge; raises ``RigError`` when none answers within ``timeout_s`` seconds.

    pycro-manager itself would print a traceback from a thread, or wait for ever.
    """
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"tcp://{address}:{port}")
        socket.send(json.dumps({"command": "connect", "debug": False}).encode())
        if not socket.poll(int(timeout_s * 1000)):
            raise RigError(
                f"nobody answers at {address}:{port} within {timeout_s:g} s; start Micro-Manager, "
                "tick 'Run server on port 4827' in Tools > Options, and check address and port"
            )
        reply = json.loads(socket.recv())
        if not isinstance(reply, dict) or reply.get("type") == "exception":
            raise ValueError(reply)
    except (zmq.ZMQError, ValueError) as error:
        raise RigError(
            f"what answers at {address}:{port} is no Micro-Manager server: {error}"
        ) from error
    finally:
        socket.close()


def _start_up(core: Any, settings: PycroManagerSettings) -> None:
    for device, name, value in settings.startup:
        try:
            set_property(core, device, name, value)
        except RigError as error:
            raise SettingsError(f"startup: {error}") from error
