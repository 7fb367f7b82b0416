//! embedded-ipfs
