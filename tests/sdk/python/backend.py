"""The application's backend: an HTTP server that answers a server's questions as a test wants."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from server import PATIENCE


class Backend:
    """Answers `POST /<hook>` with what `answers[hook]` is: JSON; bytes, sent as they are; a number, as a status; or what
    a function of the question and its headers returns. `HANG` answers when the test is over."""

    HANG = object()

    def __init__(self, tls=None):
        self._scheme = "https" if tls else "http"
        self.answers = {}
        self._asked = []
        self._news = threading.Condition()
        self._over = threading.Event()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                backend._answer(self, self.path.lstrip("/").split("?")[0], body)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # handshakes that fail, as tests want
        if tls:
            self._http.socket = tls.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def url(self, hook):
        return f"{self._scheme}://127.0.0.1:{self.port}/{hook}"

    def proxy(self, hook, **options):
        """The configuration of a proxy that asks for this hook."""
        return {"endpoint": self.url(hook), **options}

    def asked(self, hook, count=1):
        """Waits until the hook has been asked so often; the questions, each with its headers."""
        with self._news:
            enough = lambda: len(self._of(hook)) >= count
            assert self._news.wait_for(enough, PATIENCE), f"{hook} was asked {len(self._of(hook))} times"
            return self._of(hook)

    def question(self, hook):
        """What the hook was asked last."""
        return self.asked(hook)[-1][0]

    def count(self, hook):
        with self._news:
            return len(self._of(hook))

    def close(self):
        self._over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _of(self, hook):
        return [(body, headers) for name, body, headers in self._asked if name == hook]

    def _answer(self, request, hook, body):
        with self._news:
            self._asked.append((hook, body, request.headers))
            self._news.notify_all()
        answer = self.answers.get(hook, {"result": {}})
        if callable(answer):
            answer = answer(body, request.headers)
        if answer is self.HANG:
            self._over.wait()
            request.close_connection = True
            return
        status, payload = 200, answer
        if isinstance(answer, int):
            status, payload = answer, b""
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        with contextlib.suppress(OSError):  # the server has given up on it
            request.send_response(status)
            request.send_header("content-length", str(len(payload)))
            request.end_headers()
            request.wfile.write(payload)


@contextlib.contextmanager
def answering(tls=None, **answers):
    """A backend for the length of a block; with `tls`, a context, over TLS."""
    backend = Backend(tls)
    backend.answers.update(answers)
    try:
        yield backend
    finally:
        backend.close()
