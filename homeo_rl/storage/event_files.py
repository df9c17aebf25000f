"""TensorBoard's event files, whose writers are threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_writers() -> Iterator[None]:
    """Let TensorBoard's writing threads end without a traceback inside a with block.

    What a thread meets (a full disk) is raised again where the next figure is written, and is reported from there.
    """
    from tensorboard.summary.writer.event_file_writer import _AsyncWriterThread

    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not (isinstance(args.thread, _AsyncWriterThread) and isinstance(args.exc_value, OSError)):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
