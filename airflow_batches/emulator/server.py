"""The sockets: one listener, one thread for each connection.

It uses threads because a fault acts on the socket itself (a reset, an incomplete body, a stall), and blocking code
does that most plainly. An answer may be sent before the body was read: a small remainder is read after the answer, for
a larger one the connection is closed. `close()` shuts every socket down, so that no thread outlives it.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Final

from airflow_batches.emulator.addresses import Address
from airflow_batches.emulator.wire import Body, Connection, Hangup, Head, MalformedRequest, Response

_BACKLOG: Final = 4_096
"""Connections that wait to be accepted; chosen: the default limit of Linux (`somaxconn`), for bursts."""
_JOIN_TIMEOUT: Final = 10.0
"""Seconds for a thread to end after its socket was shut down; chosen: it should take milliseconds."""
_PLAIN: Final = {"content-type": "text/plain"}
_LOG: Final = logging.getLogger(__name__)

Handler = Callable[[Connection, Head, Body], Response]


class Server:
    """An HTTP server that runs from construction to `close()`.

    Raises OSError when the port is taken.
    """

    def __init__(self, address: Address, handler: Handler) -> None:
        self._handler = handler
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, Connection] = {}
        self.accepted = 0
        self._listener = socket.create_server((address.ip, address.port), family=address.family, backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._wake, self._woken = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="emulator", daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """End every connection and thread; a second call does nothing."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
        self._wake.send(b"x")
        self._acceptor.join()
        for sock in (self._listener, self._wake, self._woken):
            sock.close()
        with self._lock:
            left = dict(self._open)
        for connection in left.values():
            with contextlib.suppress(OSError):  # the client may have closed it first
                connection.sock.shutdown(socket.SHUT_RDWR)
        for thread in left:
            thread.join(_JOIN_TIMEOUT)

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._closing.is_set():
                selector.select()
                with contextlib.suppress(OSError):  # BlockingIOError, or the client left before it was accepted
                    while not self._closing.is_set():
                        self._start(self._listener.accept()[0])

    def _start(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, self._closing)
        thread = threading.Thread(target=self._serve, args=(connection,), name="emulator-connection", daemon=True)
        with self._lock:
            self.accepted += 1
            self._open[thread] = connection
        thread.start()

    def _serve(self, connection: Connection) -> None:
        reset = False
        try:
            while self._exchange(connection):
                pass
        except Hangup as hangup:
            reset = hangup.reset
        except MalformedRequest as error:
            with contextlib.suppress(OSError):
                connection.answer(Response(error.status, _PLAIN, str(error).encode()))
                connection.linger()
        except OSError:  # the client left, or the server is closing: no answer can be sent
            pass
        finally:
            connection.close(reset=reset)
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    def _exchange(self, connection: Connection) -> bool:
        """Read one request and send its response. Return False if the connection ends with it."""
        head = connection.read_head()
        if head is None:
            return False
        body = Body(connection, head)
        response = self._response(connection, head, body)
        keep_alive = body.nearly_done and not response.close
        if connection.answer(response, keep_alive=keep_alive, head_only=head.method == "HEAD"):
            body.discard()
            connection.start_next_call()
            return True
        if not body.done:
            connection.linger()
        return False

    def _response(self, connection: Connection, head: Head, body: Body) -> Response:
        try:
            return self._handler(connection, head, body)
        except (Hangup, MalformedRequest, OSError):
            raise
        except Exception:  # noqa: BLE001 - a bug of the emulator: a 500 for the client, the traceback for the log
            _LOG.exception("the emulator failed at %s %s", head.method, head.path)
            return Response(500, _PLAIN, b"The emulator failed; its log says why.\n")
