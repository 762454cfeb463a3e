"""Where a video is cut: shot detectors and spans."""
