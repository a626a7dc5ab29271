"""``run_window`` from start to end, and on machines that lack fonts or libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from display_feeds import Movie
from PySide6.QtCore import QTimer
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication

from live.display import ShownStatus
from live.display.app import run_window
from live.display.window import LiveWindow


@pytest.fixture(scope="module")
def app() -> QApplication:
    running = QApplication.instance() or QApplication(["test"])
    assert isinstance(running, QApplication)
    return running


def test_run_window_ends_with_its_feed_and_leaves_a_picture(
    app: QApplication, tmp_path: Path
) -> None:
    closed: list[int] = []
    picture = tmp_path / "sub" / "window.png"
    code = run_window(
        Movie(8),
        title="t",
        offscreen=True,
        screenshot=picture,
        on_close=lambda: closed.append(1),
    )
    app.processEvents()
    assert (code, closed) == (0, [1])
    image = QImage(str(picture))
    assert (image.width(), image.height()) == (1280, 800)
    assert [path.name for path in picture.parent.iterdir()] == ["window.png"]
    assert QApplication.topLevelWidgets() == []


def test_closing_the_window_ends_run_window(app: QApplication, tmp_path: Path) -> None:
    closed: list[int] = []

    def close_it() -> None:
        (window,) = (w for w in QApplication.topLevelWidgets() if isinstance(w, LiveWindow))
        window.close()

    QTimer.singleShot(400, close_it)
    code = run_window(
        Movie(3, stay=True),
        title="t",
        offscreen=True,
        screenshot=None,
        on_close=lambda: closed.append(1),
    )
    assert (code, closed) == (0, [1])
    assert QApplication.topLevelWidgets() == []


def test_a_fault_in_the_feed_is_raised_not_swallowed(app: QApplication) -> None:
    class Broken(Movie):
        def status(self) -> ShownStatus:
            raise RuntimeError("feed is broken")

    closed: list[int] = []
    with pytest.raises(RuntimeError, match="feed is broken"):
        run_window(
            Broken(3),
            title="t",
            offscreen=True,
            screenshot=None,
            on_close=lambda: closed.append(1),
        )
    assert closed == [1]
    assert QApplication.topLevelWidgets() == []


def test_text_is_readable_on_a_machine_without_fonts(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux servers come without fonts")
    config = tmp_path / "fonts.conf"
    config.write_text(f"<fontconfig><cachedir>{tmp_path}</cachedir></fontconfig>")
    code = """
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QApplication
from live.display.theme import apply_theme
from live.display.wording import say
app = QApplication([])
assert not QFontMetrics(app.font()).inFontUcs4(ord("A"))
apply_theme()
text = say("overlay −2 frames · 5 µm × 3 → go")
metrics = QFontMetrics(app.font())
lacking = [sign for sign in text if not metrics.inFontUcs4(ord(sign))]
assert not lacking, lacking
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FONTCONFIG_FILE": str(config), "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no fonts installed" in done.stderr


@pytest.mark.parametrize("offscreen", [True, False])
def test_without_the_libraries_of_qt_there_is_a_plain_picture_or_one_sentence(
    tmp_path: Path, offscreen: bool
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only on Linux does Qt need libraries of the system")
    # an empty file in front of the real library, as good as none
    (tmp_path / "libEGL.so.1").touch()
    code = f"""
import sys
from pathlib import Path
from live.display.app import run_window
from live.display.errors import DisplayError
from test_display_parts import OneOfEach
try:
    code = run_window(OneOfEach(), title="t", offscreen={offscreen},
        screenshot=Path({str(tmp_path / "w.png")!r}), on_close=lambda: None)
except DisplayError as error:
    sys.exit(str(error))
assert "PySide6" not in sys.modules
sys.exit(code)
"""
    here = str(Path(__file__).parent)
    paths = os.pathsep.join([here, str(Path(here).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "libegl1" in done.stderr
    assert "--headless" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if offscreen else 1)
    assert (tmp_path / "w.png").exists() is offscreen


def test_the_package_loads_no_qt() -> None:
    code = "import sys, live.display, live.display.app; assert 'PySide6' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
