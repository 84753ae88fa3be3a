"""Two kills of the server amid what a case writes."""

from __future__ import annotations

import threading

from harness import Server


class TwoKills:
    """The writer says when: the first kill hits whatever is being written then, the second one is sure to come before what follows."""

    def __init__(self) -> None:
        self._amid, self._before, self._killed = threading.Event(), threading.Event(), threading.Event()

    def amid(self) -> None:
        self._amid.set()

    def before(self) -> None:
        self._before.set()
        self._killed.wait(60)

    def of(self, server: Server) -> None:
        """Kills the server at both moments, and starts it again after each."""
        for moment in (self._amid, self._before):
            moment.wait(60)
            server.kill()
            if moment is self._before:
                self._killed.set()
            server.start()
