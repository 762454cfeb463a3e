"""What Reelmill parses itself, with bytes that a coverage-guided fuzzer finds: make fuzz."""
