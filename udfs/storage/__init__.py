"""Where bytes lie: URIs, S3, HTTP, media files of an output, manifests."""
