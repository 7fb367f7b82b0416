"""Stands for `scatter` in a market of tests: `run` of the hoster happens in the Pod of deploy/pod.yaml, under podman, with
a Kubo beside it; everything else is the program itself.
usage: hoster_in_pod.py SCATTER PODS_NAME ARGUMENTS...

The Pod shares the machine's loopback, where the market's chain and other nodes listen, on ports of its own. Nothing else
of it is changed but what a test chain needs: names, configuration, and a Kubo that asks nobody outside.
"""

import base64
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).parents[2]
USER = 65532


def main():
    program, name, *arguments = sys.argv[1:]
    config = pathlib.Path(arguments[-1])
    if arguments[0] != "run" or config.name != "hoster.toml":
        os.execv(program, [program, *arguments])
    text = config.read_text()
    data_dir = pathlib.Path(re.search(r'^data_dir = "(.*)"$', text, re.M)[1])
    start(name, text, data_dir)
    follow(name)
    sys.stdin.read()  # the parent has ended, or wants the node to
    podman("pod", "stop", "--time", "5", name)


def podman(*arguments, **options):
    return subprocess.run(["podman", *arguments], stdout=sys.stderr, **options)


def start(name, text, data_dir):
    make_secret(f"{name}-keys", {file: (data_dir / file).read_text() for file in ("keystore.json", "password")})
    # The node's data stays where the market looks for it, and its socket.
    os.chown(data_dir, USER, USER)
    bound = [f"--opt={option}" for option in ("type=none", "o=bind", f"device={data_dir}")]
    podman("volume", "create", *bound, f"{name}-data", check=True)
    podman("kube", "play", "--network", "host", "-", input=pod(name, text).encode(), check=True)


def make_secret(name, files):
    version = subprocess.run(["podman", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    if version.startswith("4.3."):
        # It mounts what `kube play` gives it without decoding it: what it keeps of a Secret is given to it plain.
        podman("secret", "create", name, "-", input=json.dumps({"data": files}).encode(), check=True)
        return
    data = {file: base64.b64encode(content.encode()).decode() for file, content in files.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
    podman("kube", "play", "-", input=json.dumps(secret).encode(), check=True)


def pod(name, text):
    rpc, swarm = free_port(), free_port()
    peers = re.findall(r'"(/ip4/\S+)/p2p/(\w+)"', text)
    peering = json.dumps([{"ID": peer, "Addrs": [address]} for address, peer in peers])
    text = re.sub(r'^data_dir = .*$', 'data_dir = "/data"', text, flags=re.M)
    text = re.sub(r'^(keystore|password_file) = ".*/(.*)"$', r'\1 = "/keys/\2"', text, flags=re.M)
    kubo = f'[ipfs]\nbackend = "kubo"\napi = "http://127.0.0.1:{rpc}"\n'
    text = re.sub(r'\[ipfs\].*?(?=\n\[)', kubo, text, flags=re.S)
    here = f"""
        ipfs config --json Addresses.Swarm '["/ip4/127.0.0.1/tcp/{swarm}"]'
        ipfs config --json Peering.Peers '{peering}'
    """
    indented = lambda part: textwrap.indent(textwrap.dedent(part).strip() + "\n", "    ")
    pod = (ROOT / "deploy/pod.yaml").read_text()
    hoster = textwrap.indent((ROOT / "deploy/kubernetes/overlays/hoster/scatter.toml").read_text(), "    ")
    init = textwrap.indent((ROOT / "deploy/kubernetes/base/kubo-init.sh").read_text(), "    ")
    for old, new in [
        (hoster, indented(text)),
        (init, init + indented(here)),
        ("value: server}", "value: test}"),
        ("/tcp/5001", f"/tcp/{rpc}"),
        ("scatter-", f"{name}-"),
        ("name: scatter\n", f"name: {name}\n"),
    ]:
        assert old in pod, old
        pod = pod.replace(old, new)
    # Who shares the machine's network publishes no ports.
    return re.sub(r"\n      ports:(\n        - .*)+", "", pod)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def follow(name):
    """What both containers say goes to the hoster's log."""
    for container in ("kubo", "node"):
        command = ["podman", "logs", "--follow", f"{name}-{container}"]
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)


main()
