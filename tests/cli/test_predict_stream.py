"""`actrec predict --stream`"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from live_servers import encoded, paced, tcp_server, until_closed


@pytest.fixture
def address():
    pieces = encoded(range(250))

    def serve(connection, _):
        paced(connection.sendall, pieces)
        until_closed(connection)

    with tcp_server(serve) as found:
        yield found


def test_lines_of_json_and_a_summary(run, trained, address, tmp_path):
    options = ("--every", "0.2", "--window", "0.4", "--topk", "1", "--seconds", "2.5", "--json", tmp_path / "a.json")
    code, out, err = run("predict", "--stream", address, "--run", trained, "--device", "cpu", *options)
    assert code == 0
    lines = [json.loads(line) for line in out]
    assert len(lines) >= 2
    for line in lines:
        assert list(line) == [
            "time", "stream_time", "classes", "probabilities", "latency", "lag", "received", "used", "dropped",
            "skipped", "reconnects",
        ]  # fmt: skip
        assert line["classes"] in (["dark"], ["bright"])
        assert line["used"] == 5
    summary = json.loads((tmp_path / "a.json").read_text())
    assert summary["source"] == address
    assert summary["predictions"] == len(lines)
    assert summary["received"] >= sum(line["received"] for line in lines)
    assert 0 < summary["latency_p50"] <= summary["latency_p99"]
    assert summary["error"] is None
    assert err[-1].startswith(f"{len(lines)} predictions, latency ")
    assert "frames received" in err[-1]


def test_a_source_that_never_starts_ends_with_one_line(run, trained, tmp_path):
    options = ("--stream-retry", "0.1", "--json", tmp_path / "a.json")
    code, out, err = run("predict", "--stream", "tcp://me:secret@127.0.0.1:9", "--run", trained, *options)
    assert (code, out) == (1, [])
    reason = "tcp://me:***@127.0.0.1:9: the source cannot be opened (Connection refused)"
    assert err[-1] == f"Error: {reason}"
    assert json.loads((tmp_path / "a.json").read_text())["error"] == reason


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--stream", "0", "a.mp4"), "--stream together with INPUT: expected one of them"),
        (("--stream", "0", "--csv", "a.csv"), "--stream together with --csv: expected one of them"),
        (("--stream", "0", "--timeline"), "--stream together with --timeline: expected one of them"),
        (("--stream", "0", "--plot", "a.png"), "--plot without --timeline: it belongs to --timeline"),
        (("a.mp4", "--seconds", "3"), "--seconds without --stream: it belongs to --stream"),
        ((), "Missing argument 'INPUT...': expected videos, folders or lists, or --stream"),
        (("--stream", "0", "--seconds", "0"), "--seconds 0.0: expected a positive number"),
    ],
)
def test_wrong_usage(run, arguments, expected):
    code, _, err = run("predict", *arguments)
    assert code == 2
    assert err[-1] == f"Error: {expected}"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_with_the_summary(trained, address):
    options = ("--every", "0.2", "--window", "0.2", "--run", str(trained), "--device", "cpu")
    command = [sys.executable, "-m", "actrec", "predict", "--stream", address, *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        try:
            assert json.loads(process.stdout.readline())["classes"]  # written at once
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1].split()[1].startswith("prediction")
    assert "Traceback" not in err
