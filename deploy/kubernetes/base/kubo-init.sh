#!/bin/sh
# Kubo's image runs this before each start of its daemon: its defaults are for a Kubo that stands alone.
set -e
# Whoever reaches the RPC API owns this Kubo. The image opens it to all addresses; here only the node beside it asks.
ipfs config Addresses.API /ip4/127.0.0.1/tcp/5001
# Nobody asks the gateway: strangers get their blocks from the node's firewall.
ipfs config --json Addresses.Gateway '[]'
# 12 h by default: the Pod's grace period would end first, with SIGKILL.
ipfs config Internal.ShutdownTimeout 20s
# Half of the machine's memory by default, whatever the container may have.
ipfs config Swarm.ResourceMgr.MaxMemory 512MiB
# --enable-gc begins at nine tenths of it: below the volume's size, above [hoster] max_storage.
ipfs config Datastore.StorageMax 180GB
