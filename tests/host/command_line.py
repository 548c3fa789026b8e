# SPDX-License-Identifier: Apache-2.0
"""The command line as a test calls it."""

from hls4attn.host import cli
from hls4attn.host.cli import console


def command(capsys, monkeypatch, *arguments):
    """The command line in this process: exit code, output, errors."""
    monkeypatch.setattr(console.out, "_width", 200)
    code = 0
    try:
        cli.main([str(a) for a in arguments])
    except SystemExit as done:
        code = done.code or 0
    streams = capsys.readouterr()
    return code, streams.out, streams.err
