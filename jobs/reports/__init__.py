"""What a report says of an output, and the page that shows it."""
