#!/bin/sh
# Kubo's image runs this before each start of its daemon: its defaults are for a Kubo that stands alone.
set -e
# Whoever reaches the RPC API owns this Kubo. The image opens it to all addresses; here only the node beside it asks.
ipfs config Addresses.API /ip4/127.0.0.1/tcp/5001
# Nobody asks the gateway: strangers get their blocks from the node's firewall.
ipfs config --json Addresses.Gateway '[]'
# Kubo 0.42 and later wait up to 12 h for what is open: the Pod's grace period would end first, with SIGKILL. 0.41 does
# not know the key, and ends within seconds.
ipfs config --json Internal.ShutdownTimeout '"20s"' 2> /dev/null || :
# Half of the machine's memory by default, whatever the container may have.
ipfs config Swarm.ResourceMgr.MaxMemory 512MiB
# --enable-gc begins at nine tenths of it: below the volume's size, above [hoster] max_storage.
ipfs config Datastore.StorageMax 180GB
