"""What the packets of a file say before a frame is decoded: tracks, time stamps, frame rate."""
