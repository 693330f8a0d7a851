"""What operators read and change, whether they use the commands, HTTP or the page."""
