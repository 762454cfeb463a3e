"""What EMR is asked for: requests as data, and the script that fills them in and sends them."""
