"""cass: the content-addressed store: blobs and manifests."""
