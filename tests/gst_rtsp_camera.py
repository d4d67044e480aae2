"""GStreamer's RTSP server with a test picture, for a process of its own:

    /usr/bin/python3 gst_rtsp_camera.py H264|H264B|MJPEG USER PASSWORD

It prints its port when it listens. It needs the distribution's Python: PyGObject is not on PyPI
as a wheel.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = {
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0",
    "H264B": "x264enc bframes=2 b-adapt=false key-int-max=12 ! video/x-h264,profile=main "
    "! rtph264pay name=pay0",
    "MJPEG": "videoconvert ! video/x-raw,format=I420 ! jpegenc ! rtpjpegpay name=pay0",
}
SOURCE = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=192,framerate=15/1"


def main() -> None:
    codec, user, password = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {SOURCE} ! {LAUNCH[codec]} )")
    factory.set_shared(True)
    if user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        role = Gst.Structure.new_empty("user")
        role.set_value("media.factory.access", True)
        role.set_value("media.factory.construct", True)
        factory.add_role_from_structure(role)
    server.get_mount_points().add_factory("/cam", factory)
    loop = GLib.MainLoop()
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    loop.run()


main()
