"""Models that write text: requests, engines, prompts, checks of the answers."""
