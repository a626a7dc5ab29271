"""What is special about pycro-manager; the contract suite runs on its headless core."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import zmq

from drivers import RigError, SettingsError, open_rig
from drivers.pycromanager import BridgeImages
from drivers.settings import PycroManagerSettings

pytest.importorskip("mmpycorex", reason="the extra [pycromanager] is not installed")


def headless(**settings: Any) -> Any:
    return open_rig(PycroManagerSettings(mode="headless", camera_buffer_mb=16, **settings))


def test_one_core_in_a_process() -> None:
    with headless(), pytest.raises(RigError, match="open already in this process"), headless():
        pass


def test_wrong_settings_are_one_sentence(tmp_path: Any) -> None:
    broken = tmp_path / "broken.cfg"
    broken.write_text("Device,Camera,NoSuchAdapter,DCam\n")
    for settings, sentence in (
        ({"config": str(broken)}, r"broken\.cfg did not load: .*NoSuchAdapter.*adapters from"),
        ({"config": "nowhere.cfg"}, r"nowhere\.cfg does not exist"),
        ({"startup": (("Camra", "Gain", "1"),)}, "startup: device 'Camra' .*mean 'Camera'"),
    ):
        with pytest.raises(SettingsError, match=sentence) as caught, headless(**settings):
            pass
        assert "\n" not in str(caught.value)
    with headless() as rig:  # a failed opening leaves no core behind
        rig.snap()


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmpycorex", None)
    with pytest.raises(SettingsError, match=r"pip install 'parfocal\[pycromanager\]'"):
        headless()


def connect(port: int) -> Any:
    return open_rig(PycroManagerSettings(port=port, connect_timeout_s=0.4))


def test_nobody_answers() -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        free = socket.bind_to_random_port("tcp://127.0.0.1")
    before = time.monotonic()
    with (
        pytest.raises(RigError, match=r"nobody answers at .*Run server on port 4827"),
        connect(free),
    ):
        pass
    assert time.monotonic() - before < 3


def test_silence_is_nobody_too() -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(RigError, match="nobody answers"), connect(port):
            pass


def test_another_server_is_not_taken_for_micro_manager() -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            if socket.poll(3000):
                socket.recv()
                socket.send(b"hello")

        server = threading.Thread(target=answer)
        server.start()
        with pytest.raises(RigError, match="no Micro-Manager server"), connect(port):
            pass
        server.join()


@dataclass
class Tagged:
    """As the bridge gives an image: a row of pixels, and tags that are text or numbers."""

    pix: np.ndarray
    tags: dict[str, object]


@dataclass
class JavaCore:
    """The part of a remote core that gives images."""

    image: Tagged

    def snapImage(self) -> None:
        pass

    def getTaggedImage(self) -> Tagged:
        return self.image

    popNextTaggedImage = getLastTaggedImage = getTaggedImage


@pytest.mark.parametrize(("dtype", "kind"), [(np.uint8, "GRAY8"), (np.uint16, "GRAY16")])
def test_tagged_images_become_pixels(dtype: type, kind: str) -> None:
    row = np.arange(12, dtype=dtype)
    tags = {"Width": "4", "Height": 3, "PixelType": kind}
    shot = BridgeImages().snap(JavaCore(Tagged(row, tags)))
    assert np.array_equal(shot.pixels, row.reshape(3, 4))
    assert shot.pixels.dtype == dtype
    assert (shot.number, shot.elapsed_ms) == (-1, -1)
    tags |= {"ImageNumber": "17", "ElapsedTime-ms": "250.5"}
    for get in (BridgeImages().pop, BridgeImages().last):
        shot = get(JavaCore(Tagged(row, tags)))
        assert (shot.number, shot.elapsed_ms) == (17, 250.5)


def test_colour_over_the_bridge_is_refused() -> None:
    image = Tagged(np.zeros(48, np.uint8), {"Width": 4, "Height": 3, "PixelType": "RGB32"})
    with pytest.raises(RigError, match="RGB32"):
        BridgeImages().snap(JavaCore(image))
