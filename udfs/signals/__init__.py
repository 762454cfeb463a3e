"""What analyze measures of a clip: motion, quality, hashes, proxies, previews."""
