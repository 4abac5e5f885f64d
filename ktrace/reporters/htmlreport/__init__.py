"""What the HTML pages show, worked out from a Report before any template runs."""
