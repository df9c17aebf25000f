"""A headless Chromium driven over a pipe (the DevTools protocol): no ports, no packages."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

BINARY = shutil.which("chromium") or shutil.which("google-chrome")


class Chromium:
    """One page. ``console`` has its errors and warnings, ``requests`` the addresses it asked for."""

    def __init__(self, profile: Path, *, seconds: float = 120.0) -> None:
        assert BINARY is not None
        self.seconds, self.number, self.pending = seconds, 0, b""
        self.console: list[str] = []
        self.requests: list[str] = []
        there, self.writer = os.pipe()
        self.reader, back = os.pipe()
        flags = [
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
            "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking",
            "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        # The protocol's pipes are descriptors 3 and 4, whatever they are here.
        high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in (there, back)]
        shell = ["bash", "-c", f'exec "$0" "$@" 3<&{high[0]} 4>&{high[1]}', BINARY, *flags]
        self.process = subprocess.Popen(shell, pass_fds=high, stderr=subprocess.DEVNULL)
        for descriptor in (there, back, *high):
            os.close(descriptor)
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    session: str | None = None

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.writer)
        os.close(self.reader)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + self.seconds
        while True:
            answer = self._receive(end)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression, or of what its promise resolves to."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, address: str) -> None:
        """Open a page, and wait until it is loaded."""
        self.call("Page.navigate", url=address)
        self.evaluate(
            "new Promise(done => document.readyState === 'complete' && location.href !== 'about:blank' ? done() : "
            "addEventListener('load', () => done()))"
        )

    def resize(self, width: int, height: int, *, scale: float = 1.0, phone: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )

    def prefer(self, **features: str) -> None:
        """Set media features, such as ``prefers_color_scheme="dark"``."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def press(self, key: str) -> None:
        typed = key if len(key) == 1 else ""  # arrows and Escape are no text
        for kind, text in (("keyDown", typed), ("keyUp", "")):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=text)

    def photograph(self, path: Path) -> None:
        """Write what is in the window as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _receive(self, end: float) -> dict[str, Any]:
        while b"\0" not in self.pending:
            ready, _, _ = select.select([self.reader], [], [], max(end - time.monotonic(), 0.0))
            assert ready, "Chromium does not answer"
            blob = os.read(self.reader, 1 << 20)
            assert blob, "Chromium has ended"
            self.pending += blob
        text, _, self.pending = self.pending.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.console.append(
                f"{event['type']}: {[part.get('value', part.get('description')) for part in event['args']]}"
            )
        elif method == "Log.entryAdded":
            self.console.append(f"{event['entry']['level']}: {event['entry']['text']}")
        elif method == "Runtime.exceptionThrown":
            self.console.append(f"exception: {event['exceptionDetails']}")
