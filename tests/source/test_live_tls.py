"""Cameras behind TLS: a certificate that nobody vouches for gets no request, and no login."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import write_clip

from streamvis.errors import SourceError
from streamvis.source.config import LiveConfig
from streamvis.source.probe import probe

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl makes the certificate"
)


class TlsCamera:
    """Serves one film with a certificate that it signed itself."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = folder / "own.pem", folder / "key.pem"
        _make_certificate(self.certificate, key)
        write_clip(folder / "film.mp4", num_frames=10)
        film = (folder / "film.mp4").read_bytes()
        self.logins = logins = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                logins.append(self.headers.get("Authorization"))
                self.send_response(200)
                self.send_header("Content-Length", str(len(film)))
                self.end_headers()
                self.wfile.write(film)

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.host = f"root:s3cr3t@127.0.0.1:{self.server.server_address[1]}"


def _make_certificate(certificate: Path, key: Path) -> None:
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    owner = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", *kind, *owner, *files], check=True, capture_output=True
    )


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[TlsCamera]:
    camera = TlsCamera(tmp_path)
    thread = threading.Thread(target=camera.server.serve_forever)
    thread.start()
    yield camera
    camera.server.shutdown()
    thread.join()
    camera.server.server_close()


@pytest.mark.parametrize("scheme", ["https", "rtsps"])
def test_a_camera_that_nobody_vouches_for_never_gets_the_login(scheme, camera):
    with pytest.raises(SourceError, match=r"live\.tls_verify: false") as refused:
        probe(f"{scheme}://{camera.host}/film.mp4", LiveConfig(timeout="5s"), 0.2, (64, 32))
    assert "s3cr3t" not in str(refused.value)
    assert camera.logins == []


@pytest.mark.parametrize("how", ["ca_file", "off"])
def test_one_that_is_known_or_taken_as_it_is_can_be_read(how, camera):
    known = {"options": {"ca_file": str(camera.certificate)}}
    live = LiveConfig(timeout="5s", **(known if how == "ca_file" else {"tls_verify": False}))
    report = probe(f"https://{camera.host}/film.mp4", live, 0.2, (64, 32))
    assert report.codec == "h264"
    assert camera.logins
